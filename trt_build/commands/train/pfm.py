"""The command `trt-build train pfm`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from trt_build.commands.arguments import Data
from trt_build.commands.train.shared import (
    Backbone,
    Epochs,
    MixedSizes,
    PictureSize,
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
    size: PictureSize = None,
    mixed_sizes: MixedSizes = False,
) -> None:
    """Learn to predict two pre-trained networks' features from each other: at defects this fails."""
    from trt_build.methods.pfm.network import PFMConfig
    from trt_build.methods.pfm.train import TRAINING, train_pfm

    network = replace(PFMConfig(position=position), **given(first=backbone, second=second), **sides(size))
    check_different(network.first, network.second)
    config = replace(TRAINING, seed=seed, **given(epochs=epochs))
    with training():
        train_pfm(data, run, network=network, training=config, mixed_sizes=mixed_sizes)
