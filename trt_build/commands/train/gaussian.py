"""The command `trt-build train gaussian`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from trt_build.commands.arguments import Data
from trt_build.commands.train.shared import Backbone, MixedSizes, PictureSize, Run, given, sides, training


def gaussian(
    data: Data,
    run: Run,
    backbone: Backbone = None,
    rank: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of directions in which each place has a variance of its own; left out, 32. The files "
            "of the model grow with it.",
        ),
    ] = None,
    size: PictureSize = None,
    mixed_sizes: MixedSizes = False,
) -> None:
    """Learn in seconds, from few good parts too, how features vary at each place of the picture."""
    from trt_build.methods.gaussian.network import GaussianConfig
    from trt_build.methods.gaussian.train import train_gaussian

    network = replace(GaussianConfig(), **given(backbone=backbone, rank=rank), **sides(size))
    with training():
        train_gaussian(data, run, network=network, mixed_sizes=mixed_sizes)
