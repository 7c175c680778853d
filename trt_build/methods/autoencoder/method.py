"""Offers the autoencoder as a method to the commands of `trt-build`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trt_build.methods.base import Exportable, Method, MethodName, TrainOptions
from trt_build.methods.good_parts.method import GoodPartsMethod

if TYPE_CHECKING:
    from trt_build.methods.autoencoder.network import Autoencoder


class AutoencoderMethod(GoodPartsMethod):
    """Judges a part by encoding and decoding its picture's features. Unusual parts are reconstructed badly."""

    name: MethodName = "autoencoder"
    train_options = frozenset({"backbone", "mixed_sizes"})

    def train(self, data: Path, folder: Path, options: TrainOptions) -> None:
        """Train on the good parts in `data`, and write the checkpoint to `folder`.

        If `folder` has a checkpoint, continue from it.
        """
        from trt_build.methods.autoencoder.network import AutoencoderConfig
        from trt_build.methods.autoencoder.train import TRAINING, train_autoencoder

        network = AutoencoderConfig()
        if options.backbone:
            network = replace(network, backbone=options.backbone)
        training = options.applied_to(TRAINING)
        train_autoencoder(data, folder, network=network, training=training, mixed_sizes=options.mixed_sizes)

    def build(self, config: Mapping[str, Any]) -> Autoencoder:
        """Return the network that a checkpoint's `config` describes, without its trained weights."""
        from trt_build.methods.autoencoder.network import Autoencoder, AutoencoderConfig

        return Autoencoder(AutoencoderConfig(**config))

    def exportable(self, network: Autoencoder, *, height: int, width: int) -> Exportable:
        """Return the network as one ONNX graph of plain weights. The picture size is that of training."""
        return super().exportable(network.fold(), height=height, width=width)


METHOD: Method = AutoencoderMethod()
