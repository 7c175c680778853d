"""What `trt-build train` does: checks the options for the method, and trains on all cores of this machine."""

from __future__ import annotations

from pathlib import Path

import torch

from edge.engines.processor import usable_cores
from trt_build.data.errors import DatasetError
from trt_build.methods.base import TrainOptions, not_taken
from trt_build.methods.table import method_of
from trt_build.terminal.progress import bars


def train_method(name: str, data: Path, folder: Path, options: TrainOptions) -> None:
    """Train a method on the pictures of `data`, in `folder`; a run that was stopped goes on.

    Raise DatasetError for an option that the method does not take.
    """
    method = method_of(name)
    for option in not_taken(options, method.train_options):
        raise DatasetError(f"{option}: the method {name} does not take it: leave it out")
    torch.set_num_threads(usable_cores())
    with bars():
        method.train(data, folder, options)
