"""Runs models by the library ONNX Runtime on the CPU. Other engines' outputs are compared with its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Model
from ..errors import EngineError
from ..manifest import Precision
from .base import Image, OnCpu, Outputs, Reference, Sample, check_outputs, check_samples
from .processor import usable_cores


@dataclass(frozen=True)
class _Features:
    """What the engine keeps of a master: its features, from name to float32 array."""

    arrays: dict[str, NDArray[np.float32]]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())


class OnnxRuntime(OnCpu):
    """Runs the samples of all lanes one after another. Each sample is computed on all threads."""

    name = "onnxruntime"

    def __init__(self, bundle: Model, precision: Precision, lanes: int, threads: int) -> None:
        self.precision, self.lanes = precision, lanes
        self._bundle, self._threads = bundle, threads

    def __enter__(self) -> OnnxRuntime:
        self._judge = self._session(self._bundle.artifact("judge", self.precision))
        features = self._bundle.manifest.features
        self._reference = (
            self._session(self._bundle.artifact("reference", self.precision)) if features else None
        )
        self._worker = ThreadPoolExecutor(1, "onnxruntime")
        self._running: dict[int, Future[list[Outputs]]] = {}
        return self

    def _session(self, path: Path) -> Any:
        import onnxruntime as ort

        try:
            return ort.InferenceSession(str(path), self._options(), providers=["CPUExecutionProvider"])
        except Exception as error:
            # ONNX Runtime's errors derive from Exception alone, and the module of their classes is not public.
            raise EngineError(f"onnxruntime cannot load {path}: {error}") from error

    def _options(self) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads or usable_cores()
        # One part at a time: a batch of 1 lets the graph be optimised as if its shapes were fixed.
        options.add_free_dimension_override_by_name("batch", 1)
        # Log errors only.
        options.log_severity_level = 3
        # Threads that spin while they wait would take the CPU from the other stages between parts.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    def __exit__(self, *_: object) -> None:
        self._worker.shutdown()
        del self._judge, self._reference, self._running

    def reference(self, master: Image) -> Reference:
        self._bundle.manifest.input.check("master", master)
        if self._reference is None:
            raise EngineError(f"{self._bundle.manifest.name} judges a part without a master")
        return _Features(_run(self._reference, self._bundle.manifest.features, {"master": master}))

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        check_samples(self._bundle.manifest, self.most_samples, samples)
        if lane in self._running:
            raise EngineError(f"lane {lane} is busy: collect it first")
        outputs = tuple(self._bundle.manifest.outputs)
        inputs: list[dict[str, NDArray[Any]]] = []
        for sample in samples:
            features = sample.reference.arrays if isinstance(sample.reference, _Features) else {}
            inputs.append({"image": sample.image, **features})
        self._running[lane] = self._worker.submit(
            lambda: [_run(self._judge, outputs, given) for given in inputs]
        )

    def ready(self, lane: int, timeout_s: float = 0.0) -> bool:
        self._check_busy(lane)
        return bool(wait((self._running[lane],), timeout_s).done)

    def collect(self, lane: int) -> list[Outputs]:
        self._check_busy(lane)
        found = self._running.pop(lane).result()
        for outputs in found:
            check_outputs(self._bundle.manifest, outputs)
        return found

    def _check_busy(self, lane: int) -> None:
        if lane not in self._running:
            raise EngineError(f"lane {lane} is idle: submit to it first")


def _run(session: Any, outputs: tuple[str, ...], inputs: dict[str, NDArray[Any]]) -> Outputs:
    """Run a loaded graph on `inputs`, each `(1, ...)` as the graph takes it. Return its outputs as float32."""
    try:
        return dict(zip(outputs, session.run(outputs, inputs), strict=True))
    except Exception as error:
        # As in `_session`: there is no narrower class to catch.
        raise EngineError(f"onnxruntime failed: {error}") from error
