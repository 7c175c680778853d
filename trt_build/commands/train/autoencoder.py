"""The command `trt-build train autoencoder`."""

from __future__ import annotations

from dataclasses import replace

from trt_build.commands.arguments import Data
from trt_build.commands.train.shared import (
    Backbone,
    Epochs,
    MixedSizes,
    PictureSize,
    Run,
    Seed,
    given,
    sides,
    training,
)


def autoencoder(
    data: Data,
    run: Run,
    epochs: Epochs = None,
    seed: Seed = 0,
    backbone: Backbone = None,
    size: PictureSize = None,
    mixed_sizes: MixedSizes = False,
) -> None:
    """Learn to encode and decode good parts: a part that is reconstructed badly is unusual."""
    from trt_build.methods.autoencoder.network import AutoencoderConfig
    from trt_build.methods.autoencoder.train import TRAINING, train_autoencoder

    network = replace(AutoencoderConfig(), **given(backbone=backbone), **sides(size))
    config = replace(TRAINING, seed=seed, **given(epochs=epochs))
    with training():
        train_autoencoder(data, run, network=network, training=config, mixed_sizes=mixed_sizes)
