"""The command `trt-build train stpm`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, NamedTuple

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


class Widths(NamedTuple):
    """The channels of a network at three strides."""

    fine: int
    middle: int
    coarse: int


def _widths(text: str) -> Widths:
    """Read `32,64,128`. Raise BadParameter unless these are three numbers over 0."""
    found = re.fullmatch(r"([1-9]\d*),([1-9]\d*),([1-9]\d*)", text)
    if not found:
        raise typer.BadParameter(f"expected three numbers of channels such as 32,64,128, found {text!r}")
    return Widths(*map(int, found.groups()))


def stpm(
    data: Data,
    run: Run,
    epochs: Epochs = None,
    seed: Seed = 0,
    backbone: Backbone = None,
    second: Annotated[
        str | None,
        typer.Option(help="Second pre-trained network: adds a second teacher and student, which takes longer."),
    ] = None,
    second_widths: Annotated[
        Widths | None,
        typer.Option(
            parser=_widths,
            metavar="FINE,MIDDLE,COARSE",
            help="Channels of the second student at the strides 4, 8 and 16; left out, 32,64,128 or, as "
            "published, those of its teacher.",
        ),
    ] = None,
    as_published: AsPublished = False,
    size: PictureSize = None,
    tiles: PictureTiles = None,
    mixed_sizes: MixedSizes = False,
) -> None:
    """Train a student to imitate a pre-trained teacher on good parts: at defects it fails."""
    from trt_build.methods.stpm.network import STPMConfig
    from trt_build.methods.stpm.train import AS_PUBLISHED, TRAINING, train_stpm

    network = STPMConfig(second=second, as_published=as_published)
    if as_published:
        network = replace(network, second_widths=None)
    network = replace(network, **given(teacher=backbone, second_widths=second_widths), **sides(size))
    check_different(network.teacher, network.second)
    config = replace(AS_PUBLISHED if as_published else TRAINING, seed=seed, **given(epochs=epochs))
    with training():
        train_stpm(data, run, network=network, training=config, mixed_sizes=mixed_sizes, tiles=tiles or (1, 1))
