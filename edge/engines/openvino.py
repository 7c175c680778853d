"""OpenVINO on the CPU: one compiled judge, one infer request a lane, features of masters kept as tensors."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bundle import Bundle
from ..errors import EngineError
from ..manifest import Precision, Role
from .base import Image, OnCpu, Outputs, Reference, Sample, check_samples
from .processor import usable_cores


@dataclass(frozen=True)
class _Features:
    tensors: dict[str, Any]  # name -> openvino.Tensor
    nbytes: int


@dataclass
class _Lane:
    request: Any  # openvino.InferRequest
    features: _Features | None = None  # what is set on the request
    image: Image | None = None  # what it is judging, read in place; None: idle


def load_openvino() -> Any:
    """The library, without its telemetry: that needs a home folder, and a line reports to nobody."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it was not installed
    import openvino

    return openvino


class OpenVINO(OnCpu):
    """Each lane is a stream with its share of the cores; with one lane a part gets all of them.

    Of more lanes than cores some wait, so that no core does when the results of another are collected.
    """

    name = "openvino"

    def __init__(self, bundle: Bundle, precision: Precision, lanes: int, threads: int) -> None:
        self.precision, self.lanes = precision, lanes
        self._bundle, self._threads = bundle, threads

    def __enter__(self) -> OpenVINO:
        ov = load_openvino()

        self._tensor = ov.Tensor
        try:
            core = ov.Core()
            judge = self._compiled(core, "judge")
            self._reference = self._compiled(core, "reference") if self._bundle.manifest.features else None
            self._lanes = [_Lane(judge.create_infer_request()) for _ in range(self.lanes)]
        except RuntimeError as error:
            raise EngineError(f"openvino cannot load {self._bundle.folder}: {error}") from error
        return self

    def _compiled(self, core: Any, role: Role) -> Any:
        """The graph of a role, with the masters' features laid out for the judge's convolutions.

        In INT8 they are kept as float16, which is finer than what the judge rounds to: half the memory, and
        half of what each part has to read.
        """
        from openvino import Layout, Type
        from openvino.preprocess import PrePostProcessor

        model = core.read_model(self._bundle.artifact(role, self.precision))
        model.reshape({port: [1, *port.partial_shape[1:]] for port in model.inputs})  # a part at a time
        graph = PrePostProcessor(model)
        for name in self._bundle.manifest.features:
            feature = graph.output(name) if role == "reference" else graph.input(name)
            feature.model().set_layout(Layout("NCHW"))
            feature.tensor().set_layout(Layout("NHWC"))
            feature.tensor().set_element_type(Type.f16 if self.precision == "int8" else Type.f32)
        # On a CPU with bfloat16 the plugin would take it for float32, and the line would judge
        # otherwise than the machine on which the bundle was verified.
        threads = self._threads or usable_cores()
        config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": str(threads),
            "NUM_STREAMS": str(min(self.lanes, threads)),
        }
        return core.compile_model(graph.build(), "CPU", config)

    def __exit__(self, *_: object) -> None:
        for lane in self._lanes:
            lane.request.cancel()
        del self._lanes, self._reference

    def reference(self, master: Image) -> Reference:
        self._bundle.manifest.input.check("master", master)
        if self._reference is None:
            raise EngineError(f"{self._bundle.manifest.name} judges a part without a master")
        request = self._reference.create_infer_request()
        try:
            request.infer([master])
        except RuntimeError as error:
            raise EngineError(f"openvino failed on a master: {error}") from error
        tensors = {  # copies: the request's own may be used again
            name: self._tensor(request.get_tensor(name).data) for name in self._bundle.manifest.features
        }
        return _Features(tensors, sum(tensor.byte_size for tensor in tensors.values()))

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        check_samples(self._bundle.manifest, self.batch, samples)
        on = self._lanes[lane]
        if on.image is not None:
            raise EngineError(f"lane {lane} is busy: collect it first")
        (sample,) = samples
        image = np.require(sample.image, requirements=["C", "W"])  # copied only if it is not so
        try:
            if sample.reference is not on.features:
                assert isinstance(sample.reference, _Features)
                for name, tensor in sample.reference.tensors.items():
                    on.request.set_tensor(name, tensor)
                on.features = sample.reference
            on.request.set_tensor("image", self._tensor(image, shared_memory=True))
            on.request.start_async()
        except RuntimeError as error:
            raise EngineError(f"openvino cannot start lane {lane}: {error}") from error
        on.image = image

    def collect(self, lane: int) -> list[Outputs]:
        on = self._lanes[lane]
        if on.image is None:
            raise EngineError(f"lane {lane} is idle: submit to it first")
        try:
            on.request.wait()
        except RuntimeError as error:
            raise EngineError(f"openvino failed on lane {lane}: {error}") from error
        finally:
            on.image = None  # not before: it is read until now, and a copy of it is held by nothing else
        return [{name: on.request.get_tensor(name).data for name in self._bundle.manifest.outputs}]
