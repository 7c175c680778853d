"""Makes student-teacher pyramid matching (STPM) available to the commands of `trt-build`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trt_build.methods.base import Method, MethodName, TrainOptions
from trt_build.methods.good_parts.method import GoodPartsMethod

if TYPE_CHECKING:
    from trt_build.methods.stpm.network import STPM


class STPMMethod(GoodPartsMethod):
    """A student network learns its teacher's features on good parts. Where they differ, a part is defective."""

    name: MethodName = "stpm"
    train_options = frozenset({"backbone", "second", "mixed_sizes"})

    def train(self, data: Path, folder: Path, options: TrainOptions) -> None:
        """Train on good parts in `data`. Keep the checkpoint in `folder`, and continue from it if it exists."""
        from trt_build.methods.stpm.network import STPMConfig
        from trt_build.methods.stpm.train import TRAINING, train_stpm

        network = STPMConfig(second=options.second)
        if options.backbone:
            network = replace(network, teacher=options.backbone)
        training = options.applied_to(TRAINING)
        train_stpm(data, folder, network=network, training=training, mixed_sizes=options.mixed_sizes)

    def build(self, config: Mapping[str, Any]) -> STPM:
        """Return an untrained network with the configuration that a checkpoint holds."""
        from trt_build.methods.stpm.network import STPM, STPMConfig

        return STPM(STPMConfig(**config))


METHOD: Method = STPMMethod()
