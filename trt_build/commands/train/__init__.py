"""The command `trt-build train`, with a subcommand for each method, which trains a model on pictures."""

from __future__ import annotations

import typer

from trt_build.commands.train.autoencoder import autoencoder
from trt_build.commands.train.comparator import comparator
from trt_build.commands.train.gaussian import gaussian
from trt_build.commands.train.matcher import matcher
from trt_build.commands.train.pfm import pfm
from trt_build.commands.train.stpm import stpm

train = typer.Typer(
    no_args_is_help=True,
    help="Train a model with one of the methods, on the CPU. This needs the extra `build`.\n\n"
    "autoencoder, stpm, pfm and gaussian learn what good parts look like. A comparator compares boards with "
    "their master, and a matcher compares photos with drawings.",
)
for method in (comparator, matcher, autoencoder, stpm, pfm, gaussian):
    train.command()(method)
