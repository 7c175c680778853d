"""Makes pre-trained feature mapping (PFM) available to the commands of `trt-build`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trt_build.methods.base import Method, MethodName
from trt_build.methods.good_parts.method import GoodPartsMethod

if TYPE_CHECKING:
    from trt_build.methods.pfm.network import PFM


class PFMMethod(GoodPartsMethod):
    """Learns to predict two backbones' features from each other on good parts. Predictions fail at defects."""

    name: MethodName = "pfm"

    def build(self, config: Mapping[str, Any]) -> PFM:
        """Return an untrained network with the configuration that a checkpoint holds."""
        from trt_build.methods.pfm.network import PFM, PFMConfig

        return PFM(PFMConfig(**config))


METHOD: Method = PFMMethod()
