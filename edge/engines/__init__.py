"""Chooses the library and the numeric precision that run a bundle's network on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from math import inf
from typing import get_args

from ..bundle import Model
from ..errors import EngineError
from ..manifest import Precision
from ..recipe import EngineChoice, EngineKind, Runtime
from .base import Engine
from .compiled import Compiled
from .constant import Constant
from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO
from .trt import TensorRT, TensorRTRTX, built_engines

ENGINES: dict[EngineKind, Callable[[Model, Precision, int, int], Engine]] = {
    "tensorrt": TensorRT,
    "tensorrt_rtx": TensorRTRTX,
    "openvino": OpenVINO,
    "onnxruntime": OnnxRuntime,
    "constant": Constant,
}
INSTALL = {"openvino": "pip install linejudge", "onnxruntime": "pip install 'linejudge[onnxruntime]'"}
FASTEST_FIRST: tuple[EngineKind, ...] = (*get_args(Runtime), "openvino", "onnxruntime")
#: The order in which `auto` prefers precisions, unless the thresholds were calibrated on another one. On a GPU,
#: those that `trt-build build` timed come first, the fastest before all.
ON_GPU: tuple[Precision, ...] = ("fp16", "int8_fp16", "int8", "fp8", "fp32")
ON_CPU: tuple[Precision, ...] = ("int8", "fp32")
#: If golden frames are not reproduced in another precision, these are tried next; the last is the most exact.
EXACT: tuple[Precision, ...] = ("fp16", "fp32")
#: ONNX Runtime rounds to INT8 but multiplies in float32: FP32 took 0.63 to 0.74 of the time, with VNNI.
SLOW_IN_INT8: tuple[EngineKind, ...] = ("onnxruntime",)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EngineSelection:
    """The engine chosen for a bundle, and the precisions in which to try it, best first.

    If the engine does not reproduce the known results of the bundle's golden frames in one precision, the next
    precision is tried. `left_out` says for each faster engine why it was not chosen.
    """

    kind: EngineKind
    precisions: tuple[Precision, ...]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def precision(self) -> Precision:
        """The precision that is tried first."""
        return self.precisions[0]

    def open(self, choice: EngineChoice, bundle: Model, precision: Precision | None = None) -> Engine:
        """Return the engine in `precision`, by default in the first. Entering the engine loads the model."""
        return ENGINES[self.kind](bundle, precision or self.precision, choice.lanes, choice.threads)


def open_engine(choice: EngineChoice, bundle: Model) -> Engine:
    """Return the engine that `select_engine` chooses. Entering the engine by `with` loads its model."""
    return select_engine(choice, bundle).open(choice, bundle)


def select_engine(choice: EngineChoice, bundle: Model) -> EngineSelection:
    """Return the engine that the recipe names or, if the recipe says `auto`, the fastest that can run here.

    Raise EngineError if a library, an engine compiled for this GPU or the precision is missing.
    """
    left_out: dict[str, str] = {}
    for kind in engine_order(choice, bundle):
        try:
            return replace(select_precisions(kind, choice, bundle), left_out=left_out)
        except EngineError as error:
            if choice.kind != "auto" or kind == "constant":
                raise
            left_out[kind] = str(error)
            _log.info("engine %s left out: %s", kind, error)
    raise no_engine(bundle, left_out)


def engine_order(choice: EngineChoice, bundle: Model) -> tuple[EngineKind, ...]:
    """Return the engines to try, the fastest first: the one that the recipe names or, for `auto`, all of them.

    Raise EngineError if the recipe names an engine that can never run the bundle.
    """
    constant = bundle.manifest.method == "constant"
    if choice.kind == "auto":
        return ("constant",) if constant else FASTEST_FIRST
    if (choice.kind == "constant") != constant:
        # A line on which a real model was replaced by a constant would pass every part.
        raise EngineError(
            f"engine {choice.kind!r} cannot run a bundle of method {bundle.manifest.method!r}: "
            "set engine.kind to 'auto'"
        )
    return (choice.kind,)


def select_precisions(kind: EngineKind, choice: EngineChoice, bundle: Model) -> EngineSelection:
    """Return the engine `kind` with the precisions in which it can run the bundle here, best first.

    If the recipe names no precision, prefer the one that the bundle's thresholds were calibrated on, else the
    fastest. More exact ones follow. Raise EngineError if a library, an engine compiled for this GPU or the
    precision is missing.
    """
    runnable: Sequence[Precision] = ("fp32",) if kind == "constant" else _runnable(kind, bundle)
    selected = EngineSelection(kind=kind, precisions=_precisions(choice, bundle, kind, runnable))
    told = (kind, selected.precision, choice.lanes, bundle.manifest.name)
    _log.info("engine %s with %s, %d lanes, for bundle %s", *told)
    return selected


def no_engine(bundle: Model, left_out: Mapping[str, str]) -> EngineError:
    """Return the error for a bundle that no engine can run; `left_out` says why for each engine."""
    return EngineError(f"no engine can run {bundle.folder}: {'; '.join(left_out.values())}")


def _runnable(kind: EngineKind, bundle: Model) -> Sequence[Precision]:
    """Return the bundle's precisions that the engine `kind` can run here, best first.

    Raise EngineError if the engine is not installed or, on a GPU, if none was compiled for this GPU.
    """
    if kind == "tensorrt" or kind == "tensorrt_rtx":
        built = built_engines(kind, bundle)
        usual = [precision for precision in ON_GPU if precision in built]
        return sorted(usual, key=lambda precision: _ms(built[precision]))
    if find_spec(kind) is None:
        raise EngineError(f"{kind} is not installed: {INSTALL[kind]}")
    order = ON_CPU[::-1] if kind in SLOW_IN_INT8 else ON_CPU
    return [precision for precision in order if precision in bundle.manifest.precisions()]


def _ms(engine: Compiled) -> float:
    """Return the time that `trt-build build` measured; infinite, so that it comes last, if it measured none."""
    return engine.measured.ms if engine.measured else inf


def _precisions(
    choice: EngineChoice, bundle: Model, kind: EngineKind, runnable: Sequence[Precision]
) -> tuple[Precision, ...]:
    """Return which of the `runnable` precisions to try, best first. If the recipe names one, only that one."""
    for precision in runnable:
        if precision == choice.precision:
            return (precision,)
    if choice.precision != "auto" or not runnable:
        raise EngineError(
            f"engine.precision {choice.precision!r}: of bundle {bundle.manifest.name}, {kind} can run "
            f"{', '.join(runnable) or 'none'}: set 'auto', or export and build it"
        )
    first, calibration = runnable[0], bundle.manifest.calibration
    for precision in runnable if calibration and kind not in SLOW_IN_INT8 else ():
        if calibration and bundle.digest_of_graph("judge", precision) == calibration.artifact:
            first = precision
    exact = EXACT[EXACT.index(first) + 1 :] if first in EXACT else EXACT
    return (first, *(precision for precision in exact if precision in runnable))
