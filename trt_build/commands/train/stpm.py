"""The command `trt-build train stpm`."""

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
    size: PictureSize = None,
    mixed_sizes: MixedSizes = False,
) -> None:
    """Train a student to imitate a pre-trained teacher on good parts: at defects it fails."""
    from trt_build.methods.stpm.network import STPMConfig
    from trt_build.methods.stpm.train import TRAINING, train_stpm

    network = replace(STPMConfig(second=second), **given(teacher=backbone), **sides(size))
    check_different(network.teacher, network.second)
    config = replace(TRAINING, seed=seed, **given(epochs=epochs))
    with training():
        train_stpm(data, run, network=network, training=config, mixed_sizes=mixed_sizes)
