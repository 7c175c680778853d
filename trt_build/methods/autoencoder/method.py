"""Offers the autoencoder as a method to the commands of `trt-build`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trt_build.methods.base import Exportable, Method, MethodName
from trt_build.methods.good_parts.method import GoodPartsMethod

if TYPE_CHECKING:
    from trt_build.methods.autoencoder.network import Autoencoder


class AutoencoderMethod(GoodPartsMethod):
    """Judges a part by encoding and decoding its picture's features. Unusual parts are reconstructed badly."""

    name: MethodName = "autoencoder"

    def build(self, config: Mapping[str, Any]) -> Autoencoder:
        """Return the network that a checkpoint's `config` describes, without its trained weights."""
        from trt_build.methods.autoencoder.network import Autoencoder, AutoencoderConfig

        return Autoencoder(AutoencoderConfig(**config))

    def exportable(self, network: Autoencoder, *, height: int, width: int) -> Exportable:
        """Return the network as one ONNX graph of plain weights. The picture size is that of training."""
        return super().exportable(network.fold(), height=height, width=width)


METHOD: Method = AutoencoderMethod()
