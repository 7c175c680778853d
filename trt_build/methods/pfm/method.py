"""Makes pre-trained feature mapping (PFM) available to the commands of `trt-build`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trt_build.methods.base import Method, MethodName, TrainOptions
from trt_build.methods.good_parts.method import GoodPartsMethod

if TYPE_CHECKING:
    from trt_build.methods.pfm.network import PFM


class PFMMethod(GoodPartsMethod):
    """Learns to predict two backbones' features from each other on good parts. Predictions fail at defects."""

    name: MethodName = "pfm"
    train_options = frozenset({"backbone", "second", "position", "mixed_sizes"})

    def train(self, data: Path, folder: Path, options: TrainOptions) -> None:
        """Train on good parts in `data`. Keep the checkpoint in `folder`, and continue from it if it exists."""
        from trt_build.methods.pfm.network import PFMConfig
        from trt_build.methods.pfm.train import TRAINING, train_pfm

        network = PFMConfig(position=options.position)
        first, second = options.backbone or network.first, options.second or network.second
        network = replace(network, first=first, second=second)
        training = options.applied_to(TRAINING)
        train_pfm(data, folder, network=network, training=training, mixed_sizes=options.mixed_sizes)

    def build(self, config: Mapping[str, Any]) -> PFM:
        """Return an untrained network with the configuration that a checkpoint holds."""
        from trt_build.methods.pfm.network import PFM, PFMConfig

        return PFM(PFMConfig(**config))


METHOD: Method = PFMMethod()
