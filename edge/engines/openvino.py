"""Runs models by the library OpenVINO on the CPU. All lanes share one compiled model."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bundle import Model
from ..errors import EngineError
from ..manifest import Precision, Role
from .base import Image, OnCpu, Outputs, Reference, Sample, check_outputs, check_samples
from .processor import usable_cores


@dataclass(frozen=True)
class _Features:
    """What the engine keeps of a master: its features, as OpenVINO's tensors."""

    tensors: dict[str, Any]  # name -> openvino.Tensor
    nbytes: int


@dataclass
class _Request:
    """A request to OpenVINO for one sample, and the master's features and the image that it reads."""

    request: Any  # openvino.InferRequest
    features: _Features | None = None  # set on the request
    image: Image | None = None  # (1, C, H, W) uint8, read in place; None: the request is idle


def load_openvino() -> Any:
    """Return the module `openvino`. Its telemetry, which needs a home folder and sends data, is off."""
    # None in `sys.modules` makes an import fail, as if the package was not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


class OpenVINO(OnCpu):
    """Divides the CPU's cores among the lanes. A single lane gets all cores.

    If there are more lanes than cores, requests queue, so that no core is idle while results are collected.
    """

    name = "openvino"

    def __init__(self, bundle: Model, precision: Precision, lanes: int, threads: int) -> None:
        self.precision, self.lanes = precision, lanes
        self._bundle, self._threads = bundle, threads

    def __enter__(self) -> OpenVINO:
        ov = load_openvino()

        self._tensor = ov.Tensor
        try:
            core = ov.Core()
            judge = self._compiled(core, "judge")
            self._reference = self._compiled(core, "reference") if self._bundle.manifest.features else None
            self._judge = judge
            self._lanes = [[_Request(judge.create_infer_request())] for _ in range(self.lanes)]
        except RuntimeError as error:
            raise EngineError(f"openvino cannot load {self._bundle.folder}: {error}") from error
        return self

    def _compiled(self, core: Any, role: Role) -> Any:
        """Compile the bundle's graph for a role, judge or reference, for this CPU.

        Features are NHWC, as the judge's convolutions read them. In INT8, features are kept as float16. This is
        finer than the judge's own rounding, and halves the memory that is read for each part.
        """
        from openvino import Layout, Type
        from openvino.preprocess import PrePostProcessor

        model = core.read_model(self._bundle.artifact(role, self.precision))
        # One part at a time.
        model.reshape({port: [1, *port.partial_shape[1:]] for port in model.inputs})
        graph = PrePostProcessor(model)
        for name in self._bundle.manifest.features:
            feature = graph.output(name) if role == "reference" else graph.input(name)
            feature.model().set_layout(Layout("NCHW"))
            feature.tensor().set_layout(Layout("NHWC"))
            feature.tensor().set_element_type(Type.f16 if self.precision == "int8" else Type.f32)
        # By default, a CPU with bfloat16 would compute float32 graphs in it, and the line's scores would differ
        # from those of the machine on which the bundle was verified.
        threads = self._threads or usable_cores()
        config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": str(threads),
            "NUM_STREAMS": str(min(self.lanes, threads)),
        }
        return core.compile_model(graph.build(), "CPU", config)

    def __exit__(self, *_: object) -> None:
        for one in (one for lane in self._lanes for one in lane):
            one.request.cancel()
        del self._lanes, self._judge, self._reference

    def reference(self, master: Image) -> Reference:
        self._bundle.manifest.input.check("master", master)
        if self._reference is None:
            raise EngineError(f"{self._bundle.manifest.name} judges a part without a master")
        request = self._reference.create_infer_request()
        try:
            request.infer([master])
        except RuntimeError as error:
            raise EngineError(f"openvino failed on a master: {error}") from error
        # Copies: the request's own tensors are reused.
        tensors = {name: self._tensor(request.get_tensor(name).data) for name in self._bundle.manifest.features}
        return _Features(tensors, sum(tensor.byte_size for tensor in tensors.values()))

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        check_samples(self._bundle.manifest, self.most_samples, samples)
        on = self._lanes[lane]
        if on[0].image is not None:
            raise EngineError(f"lane {lane} is busy: collect it first")
        try:
            while len(on) < len(samples):
                on.append(_Request(self._judge.create_infer_request()))
            for one, sample in zip(on, samples, strict=False):
                self._start(one, sample)
        except RuntimeError as error:
            _wait(on)
            raise EngineError(f"openvino cannot start lane {lane}: {error}") from error

    def _start(self, on: _Request, sample: Sample) -> None:
        """Start a request for one sample. Raise RuntimeError if OpenVINO cannot start it."""
        # OpenVINO reads the image in place, so it has to be contiguous and writable; else it is copied here.
        image = np.require(sample.image, requirements=["C", "W"])
        if sample.reference is not on.features:
            assert isinstance(sample.reference, _Features)
            for name, tensor in sample.reference.tensors.items():
                on.request.set_tensor(name, tensor)
            on.features = sample.reference
        on.request.set_tensor("image", self._tensor(image, shared_memory=True))
        on.request.start_async()
        on.image = image

    def ready(self, lane: int, timeout_s: float = 0.0) -> bool:
        # OpenVINO counts whole milliseconds.
        return all(_is_over(one, math.ceil(1000 * timeout_s)) for one in self._running(lane))

    def collect(self, lane: int) -> list[Outputs]:
        on = self._running(lane)
        if error := _wait(on):
            raise EngineError(f"openvino failed on lane {lane}: {error}") from error
        names = self._bundle.manifest.outputs
        found = [{name: one.request.get_tensor(name).data for name in names} for one in on]
        for outputs in found:
            check_outputs(self._bundle.manifest, outputs)
        return found

    def _running(self, lane: int) -> list[_Request]:
        """Return the requests that were started on a lane. Raise EngineError if there are none."""
        on = [one for one in self._lanes[lane] if one.image is not None]
        if not on:
            raise EngineError(f"lane {lane} is idle: submit to it first")
        return on


def _is_over(one: _Request, timeout_ms: int) -> bool:
    """Return whether a request that was started is done within `timeout_ms`, or has failed."""
    try:
        return bool(one.request.wait_for(timeout_ms))
    except RuntimeError:
        return True


def _wait(requests: Sequence[_Request]) -> RuntimeError | None:
    """Wait for all requests that run. Return the error of one that failed, or None."""
    failed = None
    for one in requests:
        try:
            if one.image is not None:
                one.request.wait()
        except RuntimeError as error:
            failed = error
        # Only now: the request reads the image until here, and nothing else may hold its copy.
        one.image = None
    return failed
