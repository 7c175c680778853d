"""The engines by name, and the choice of one for a bundle and this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from ..bundle import Bundle
from ..errors import EngineError
from ..manifest import Precision
from ..recipe import EngineChoice
from .base import Engine
from .constant import Constant
from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO
from .trt import TensorRT, TensorRTRTX, built_precisions

Kind = Literal["tensorrt", "tensorrt_rtx", "openvino", "onnxruntime", "constant"]

ENGINES: dict[Kind, Callable[[Bundle, Precision, int, int], Engine]] = {
    "tensorrt": TensorRT,
    "tensorrt_rtx": TensorRTRTX,
    "openvino": OpenVINO,
    "onnxruntime": OnnxRuntime,
    "constant": Constant,
}
INSTALL = {"openvino": "pip install linejudge", "onnxruntime": "pip install 'linejudge[onnxruntime]'"}
FASTEST_FIRST: tuple[Kind, ...] = ("tensorrt", "tensorrt_rtx", "openvino", "onnxruntime")
#: In which order `auto` prefers them, unless the thresholds were calibrated on another one.
ON_GPU: tuple[Precision, ...] = ("fp16", "int8", "fp8", "fp32")
ON_CPU: tuple[Precision, ...] = ("int8", "fp32")
#: ONNX Runtime rounds as INT8 does and multiplies in float32: FP32 took 0.63 to 0.74 of its time, with VNNI.
SLOW_IN_INT8: tuple[Kind, ...] = ("onnxruntime",)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The engine that was chosen, and why not those that would be faster.

    `precisions` are in the order in which they are to be tried: one that does not reproduce the golden frames
    is left for the next.
    """

    kind: Kind
    precisions: tuple[Precision, ...]
    left_out: dict[str, str]

    @property
    def precision(self) -> Precision:
        return self.precisions[0]

    def open(self, choice: EngineChoice, bundle: Bundle, precision: Precision | None = None) -> Engine:
        """The engine, to be entered by `with`, in its first precision if not in another."""
        return ENGINES[self.kind](bundle, precision or self.precision, choice.lanes, choice.threads)


def open_engine(choice: EngineChoice, bundle: Bundle) -> Engine:
    """The engine that a recipe asks for, to be entered by `with`; EngineError as of `take_engine`."""
    return take_engine(choice, bundle).open(choice, bundle)


def take_engine(choice: EngineChoice, bundle: Bundle) -> Taken:
    """Choose the engine that a recipe asks for.

    `auto` takes the fastest that is there, and of its precisions the one that the thresholds were calibrated
    on, or else the fastest; on a CPU, FP32 follows on INT8. EngineError where a library, an engine for this GPU
    or the precision is missing.
    """
    constant = bundle.manifest.method == "constant"
    if choice.kind != "auto" and (choice.kind == "constant") != constant:
        # A line on which a real model was replaced by a constant would pass every part.
        raise EngineError(
            f"engine {choice.kind!r} cannot run a bundle of method {bundle.manifest.method!r}: "
            "set engine.kind to 'auto'"
        )
    left_out: dict[str, str] = {}
    if constant:
        precisions = _precisions(choice, bundle, "constant", ("fp32",))
        taken = Taken(kind="constant", precisions=precisions, left_out=left_out)
    elif choice.kind != "auto":
        precisions = _precisions(choice, bundle, choice.kind, _runnable(choice.kind, bundle))
        taken = Taken(kind=choice.kind, precisions=precisions, left_out=left_out)
    else:
        taken = _fastest(choice, bundle, left_out)
    _log.info(
        "engine %s with %s, %d lanes, for bundle %s",
        taken.kind,
        taken.precision,
        choice.lanes,
        bundle.manifest.name,
    )
    return taken


def _fastest(choice: EngineChoice, bundle: Bundle, left_out: dict[str, str]) -> Taken:
    for kind in FASTEST_FIRST:
        try:
            precisions = _precisions(choice, bundle, kind, _runnable(kind, bundle))
        except EngineError as error:
            left_out[kind] = str(error)
            _log.info("engine %s left out: %s", kind, error)
        else:
            return Taken(kind=kind, precisions=precisions, left_out=left_out)
    raise EngineError(f"no engine can run {bundle.folder}: {'; '.join(left_out.values())}")


def _runnable(kind: Kind, bundle: Bundle) -> Sequence[Precision]:
    """The bundle's precisions that an engine runs here, preferred ones first; EngineError if it cannot run."""
    if kind == "tensorrt" or kind == "tensorrt_rtx":
        built = built_precisions(kind, bundle)
        return [precision for precision in ON_GPU if precision in built]
    if find_spec(kind) is None:
        raise EngineError(f"{kind} is not installed: {INSTALL[kind]}")
    order = ON_CPU[::-1] if kind in SLOW_IN_INT8 else ON_CPU
    return [precision for precision in order if precision in bundle.manifest.precisions()]


def _precisions(
    choice: EngineChoice, bundle: Bundle, kind: Kind, runnable: Sequence[Precision]
) -> tuple[Precision, ...]:
    """Those to try, one after another; one that is asked for by name is the only one."""
    for precision in runnable:
        if precision == choice.precision:
            return (precision,)
    if choice.precision != "auto" or not runnable:
        raise EngineError(
            f"engine.precision {choice.precision!r}: of bundle {bundle.manifest.name} it can run "
            f"{', '.join(runnable) or 'none'}: set 'auto', or export and build it"
        )
    first, calibration = runnable[0], bundle.manifest.calibration
    for precision in runnable if calibration and kind not in SLOW_IN_INT8 else ():
        if calibration and bundle.digest_of_graph("judge", precision) == calibration.artifact:
            first = precision
    falls_back = first == "int8" and kind not in ("tensorrt", "tensorrt_rtx") and "fp32" in runnable
    return (first, "fp32") if falls_back else (first,)
