"""The command `trt-build train pfm`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated

import typer

from trt_build.commands.arguments import Data
from trt_build.commands.train.shared import (
    AsPublished,
    Backbone,
    Epochs,
    MixedSizes,
    PictureSize,
    PictureTiles,
    Run,
    Seed,
    check_different,
    given,
    sides,
    training,
)


def pfm(
    data: Data,
    run: Run,
    epochs: Epochs = None,
    seed: Seed = 0,
    backbone: Backbone = None,
    second: Annotated[
        str | None,
        typer.Option(help="Second pre-trained network, with whose features those of the first are compared."),
    ] = None,
    position: Annotated[
        bool,
        typer.Option(help="Use each place's position in the picture; for parts that all lie the same way."),
    ] = False,
    strides: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Strides of the features that are compared, in pixels, some of 4,8,16; left out, all. "
            "A smaller stride shows finer defects, and takes longer.",
        ),
    ] = None,
    latents: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Channels of the layer in the middle of the projections, a number for each stride, such as "
            "200,400,900; left out, 64 each or, as published, those.",
        ),
    ] = None,
    as_published: AsPublished = False,
    size: PictureSize = None,
    tiles: PictureTiles = None,
    mixed_sizes: MixedSizes = False,
) -> None:
    """Learn to predict two pre-trained networks' features from each other: at defects this fails."""
    from trt_build.methods.pfm.network import PFMConfig, usual_latents
    from trt_build.methods.pfm.train import train_pfm, usual_training

    if position and tiles is not None:
        raise typer.BadParameter(
            "a place's position in its tile says nothing: leave out --tiles", param_hint="--position"
        )
    network = PFMConfig(position=position, as_published=as_published)
    if strides is not None:
        network = replace(network, strides=_strides(strides))
    if strides is not None or as_published:
        network = replace(network, latents=usual_latents(network))
    if latents is not None:
        network = replace(network, latents=_latents(latents, len(network.strides)))
    network = replace(network, **given(first=backbone, second=second), **sides(size))
    check_different(network.first, network.second)
    config = replace(usual_training(network), seed=seed, **given(epochs=epochs))
    with training():
        train_pfm(data, run, network=network, training=config, mixed_sizes=mixed_sizes, tiles=tiles or (1, 1))


def _strides(text: str) -> tuple[int, ...]:
    """Read `4,8,16`. Raise BadParameter unless these are strides that backbones have, from fine to coarse."""
    from trt_build.methods.pfm.network import STRIDES

    found = _numbers(text)
    if not found or list(found) != sorted(set(found) & set(STRIDES)):
        raise typer.BadParameter(
            f"expected some of {','.join(map(str, STRIDES))}, from fine to coarse, found {text!r}",
            param_hint="--strides",
        )
    return found


def _latents(text: str, count: int) -> tuple[int, ...]:
    """Read `200,400,900`. Raise BadParameter unless these are `count` numbers over 0."""
    found = _numbers(text)
    if len(found) != count or 0 in found:
        raise typer.BadParameter(
            f"expected {count} numbers over 0, one for each stride, with commas, found {text!r}",
            param_hint="--latents",
        )
    return found


def _numbers(text: str) -> tuple[int, ...]:
    """Return the whole numbers in a text such as `4,8,16`, or none if it is not written like this."""
    return tuple(map(int, text.split(","))) if re.fullmatch(r"\d+(,\d+)*", text) else ()
