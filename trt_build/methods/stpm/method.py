"""Makes student-teacher pyramid matching (STPM) available to the commands of `trt-build`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trt_build.methods.base import Method, MethodName
from trt_build.methods.good_parts.method import GoodPartsMethod

if TYPE_CHECKING:
    from trt_build.methods.stpm.network import STPM


class STPMMethod(GoodPartsMethod):
    """A student network learns its teacher's features on good parts. Where they differ, a part is defective."""

    name: MethodName = "stpm"

    def build(self, config: Mapping[str, Any]) -> STPM:
        """Return an untrained network with the configuration that a checkpoint holds."""
        from trt_build.methods.stpm.network import STPM, STPMConfig

        return STPM(STPMConfig(**config))


METHOD: Method = STPMMethod()
