"""The command `trt-build train comparator`."""

from __future__ import annotations

from dataclasses import replace

from edge.render.defects import KINDS
from trt_build.commands.arguments import Data
from trt_build.commands.train.shared import Epochs, Run, Seed, given, training


def comparator(data: Data, run: Run, epochs: Epochs = None, seed: Seed = 0) -> None:
    """Learn to find defects by comparing each board with its master."""
    from trt_build.methods.comparator.network import ComparatorConfig
    from trt_build.methods.comparator.train import TRAINING, train_comparator

    config = replace(TRAINING, seed=seed, **given(epochs=epochs))
    with training():
        train_comparator(data, run, network=ComparatorConfig(kinds=KINDS), training=config)
