"""The command `trt-build train comparator`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from trt_build.commands.arguments import Data
from trt_build.commands.train.shared import Epochs, Run, Seed, Size, given, read_size, training


def comparator(
    data: Data,
    run: Run,
    epochs: Epochs = None,
    seed: Seed = 0,
    size: Annotated[
        Size | None,
        typer.Option(
            parser=read_size,
            metavar="WIDTHxHEIGHT",
            help="Size in pixels to which pictures are scaled, multiples of 32; left out, they keep theirs.",
        ),
    ] = None,
) -> None:
    """Learn to find defects by comparing each part with its master. The labels decide what is learned."""
    from trt_build.methods.comparator.train import TRAINING, train_comparator

    config = replace(TRAINING, seed=seed, **given(epochs=epochs))
    with training():
        train_comparator(data, run, training=config, size=size)
