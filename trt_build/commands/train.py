"""The command `trt-build train`, which trains a model on a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.engines.processor import usable_cores
from trt_build.commands.arguments import Data
from trt_build.data.errors import DatasetError
from trt_build.methods.base import MethodName, TrainOptions, not_taken
from trt_build.methods.table import method_of
from trt_build.terminal.console import console
from trt_build.terminal.progress import bars


def train(
    method: Annotated[
        MethodName,
        typer.Argument(
            help="How parts are judged: against a master (comparator), by what good parts look like "
            "(autoencoder, stpm, pfm), or against drawings (matcher).",
            show_default=False,
        ),
    ],
    data: Data,
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder for the checkpoint and the curves; a training that was stopped goes on there.",
            show_default=False,
        ),
    ],
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Number of passes over all pictures; left out, the method's own number."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the random numbers; the same seed gives the same training.")
    ] = 0,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Pre-trained network to start from, for autoencoder, stpm and pfm; left out, the method's "
            "own, which comes with Linejudge. Download a ResNet with fetch-backbone."
        ),
    ] = None,
    second: Annotated[
        str | None,
        typer.Option(
            help="Second pre-trained network, for stpm and pfm. pfm compares it with the first; stpm adds a "
            "second teacher and student, which takes longer and finds more."
        ),
    ] = None,
    position: Annotated[
        bool,
        typer.Option(
            help="Give pfm each place's position in the picture; for parts that all lie the same way."
        ),
    ] = False,
    mixed_sizes: Annotated[
        bool,
        typer.Option(
            help="Accept pictures of different sizes and scale each to the model's size; without this option "
            "they are an error."
        ),
    ] = False,
) -> None:
    """Train a model with one of the methods, on the CPU. This needs the extra `build`."""
    options = TrainOptions(
        epochs=epochs, seed=seed, backbone=backbone, second=second, position=position, mixed_sizes=mixed_sizes
    )
    try:
        train_method(method, data, folder, options)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the last epoch that was kept")
        raise typer.Exit(130) from None


def train_method(name: str, data: Path, folder: Path, options: TrainOptions) -> None:
    """Train a method on all cores of this machine. Raise DatasetError if an option is not for this method."""
    import torch

    method = method_of(name)
    for option in not_taken(options, method.train_options):
        raise DatasetError(f"{option}: the method {name} does not take it: leave it out")
    torch.set_num_threads(usable_cores())
    with bars():
        method.train(data, folder, options)
