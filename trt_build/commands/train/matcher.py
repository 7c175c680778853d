"""The command `trt-build train matcher`."""

from __future__ import annotations

from dataclasses import replace

from trt_build.commands.arguments import Data
from trt_build.commands.train.shared import Epochs, Run, Seed, given, training


def matcher(data: Data, run: Run, epochs: Epochs = None, seed: Seed = 0) -> None:
    """Learn to tell whether a photo shows the product that a drawing shows."""
    from trt_build.methods.matcher.network import MatcherConfig
    from trt_build.methods.matcher.split import pictures_to_train
    from trt_build.methods.matcher.train import TRAINING, PairSampling, train_matcher

    network, sampling = MatcherConfig(), PairSampling()
    config = replace(TRAINING, seed=seed, **given(epochs=epochs))
    with training():
        split = pictures_to_train(data, network.spec, pairs=sampling.pairs)
        train_matcher(split.train, split.open, run, network=network, training=config, sampling=sampling)
