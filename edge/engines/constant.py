"""Judges parts without a network, to test a line. The bundle says which outputs, delays and faults occur."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from ..bundle import Model
from ..errors import EngineError, EngineLost
from ..manifest import Precision, Probability
from .base import Image, OnCpu, Outputs, Reference, Sample, check_samples


class _Facts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the constant engine answers, and when. It is the `metadata` of a bundle of method `constant`."""

    score: Probability = 0.0  # of the first kind of defect, in the middle cell of the map; all else is 0
    delay_ms: Annotated[float, Meta(ge=0)] = 0.0  # from submit to the answer
    fault: str = ""  # "nan": outputs are NaN; "lost": EngineLost; any other text: an EngineError that says it
    every: Annotated[int, Meta(ge=1)] = 1  # only each so-many-th part has the delay and fault


@dataclass(frozen=True)
class _Nothing:
    """What the constant engine keeps of a master: nothing."""

    nbytes: int = 1


class Constant(OnCpu):
    """Runs bundles whose method is `constant`. It needs no library and no ONNX graph."""

    name = "constant"
    starts_cold = False  # and a request before the first part would count as a part

    def __init__(self, bundle: Model, precision: Precision, lanes: int, threads: int) -> None:
        self.precision, self.lanes = precision, lanes
        self._manifest = bundle.manifest
        try:
            self._facts = msgspec.convert(bundle.manifest.metadata, _Facts)
        except msgspec.ValidationError as error:
            raise EngineError(f"{bundle.folder}: metadata of a constant engine: {error}") from error

    def __enter__(self) -> Constant:
        self._parts = 0
        # For each busy lane: whether its part has the delay and fault, and when it is due in ns.
        self._running: dict[int, tuple[bool, int]] = {}
        # For each busy lane: the number of its samples.
        self._counts: dict[int, int] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self._running.clear()

    def reference(self, master: Image) -> Reference:
        self._manifest.input.check("master", master)
        return _Nothing()

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        check_samples(self._manifest, self.most_samples, samples)
        if lane in self._running:
            raise EngineError(f"lane {lane} is busy: collect it first")
        self._parts += 1
        self._counts[lane] = len(samples)
        faulty = self._parts % self._facts.every == 0
        delay_ns = int(self._facts.delay_ms * 1e6) if faulty else 0
        self._running[lane] = (faulty, time.monotonic_ns() + delay_ns)

    def ready(self, lane: int, timeout_s: float = 0.0) -> bool:
        self._check_busy(lane)
        left_s = max(0, self._running[lane][1] - time.monotonic_ns()) / 1e9
        time.sleep(min(timeout_s, left_s))
        return left_s <= timeout_s

    def collect(self, lane: int) -> list[Outputs]:
        self._check_busy(lane)
        faulty, due_ns = self._running.pop(lane)
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        fault = self._facts.fault if faulty else ""
        if fault == "lost":
            raise EngineLost("the device does not answer")
        if fault and fault != "nan":
            raise EngineError(fault)
        return [self._outputs(fault) for _ in range(self._counts.pop(lane))]

    def _check_busy(self, lane: int) -> None:
        if lane not in self._running:
            raise EngineError(f"lane {lane} is idle: submit to it first")

    def _outputs(self, fault: str) -> Outputs:
        """Return the outputs for one sample: NaN if there is a fault."""
        outputs = {
            name: np.full(shape, np.nan if fault else 0, np.float32)
            for name, shape in self._manifest.outputs.items()
        }
        if not fault:
            anomaly_map = outputs["map"]
            anomaly_map[0, 0, anomaly_map.shape[2] // 2, anomaly_map.shape[3] // 2] = self._facts.score
            if "extents" in outputs:
                outputs["extents"] += self._manifest.stride / 2
        return outputs
