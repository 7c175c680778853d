"""Makes the method with a Gaussian per place available to the commands of `trt-build`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trt_build.methods.base import Method, MethodName
from trt_build.methods.good_parts.method import GoodPartsMethod

if TYPE_CHECKING:
    from trt_build.methods.gaussian.network import Gaussian


class GaussianMethod(GoodPartsMethod):
    """Compares a pre-trained network's features at each place with those of good parts at that place."""

    name: MethodName = "gaussian"

    def build(self, config: Mapping[str, Any]) -> Gaussian:
        """Return a network without weights, with the configuration that a checkpoint holds."""
        from trt_build.methods.gaussian.network import Gaussian, GaussianConfig

        return Gaussian(GaussianConfig(**config))


METHOD: Method = GaussianMethod()
