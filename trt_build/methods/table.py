"""The methods that judge a picture by itself: how each is loaded and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from edge.manifest import InputSpec
from trt_build.methods.autoencoder.train import load_autoencoder
from trt_build.methods.matcher.train import load_matcher
from trt_build.methods.pfm.train import load_pfm
from trt_build.methods.stpm.train import load_stpm


@dataclass(frozen=True, kw_only=True)
class Method:
    """One entry of the table."""

    load: Callable[[Path], nn.Module]  # a checkpoint
    spec: Callable[[Any], InputSpec]  # what the model is fed
    outputs: tuple[str, ...]  # in the order in which the model gives them
    kinds: tuple[str, ...]


def _spec(model: Any) -> InputSpec:
    spec: InputSpec = model.config.spec
    return spec


_SCORE, _ANOMALY = ("score", "map"), ("anomaly",)
METHODS: dict[str, Method] = {
    "matcher": Method(load=load_matcher, spec=_spec, outputs=("embedding",), kinds=("product",)),
    "autoencoder": Method(load=load_autoencoder, spec=_spec, outputs=_SCORE, kinds=_ANOMALY),
    "stpm": Method(load=load_stpm, spec=_spec, outputs=_SCORE, kinds=_ANOMALY),
    "pfm": Method(load=load_pfm, spec=_spec, outputs=_SCORE, kinds=_ANOMALY),
}
