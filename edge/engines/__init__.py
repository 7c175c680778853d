"""The engines by name, and the choice of one for a bundle and this machine."""

from __future__ import annotations

import logging
from importlib.util import find_spec

from ..bundle import Bundle
from ..errors import EngineError
from ..manifest import Precision
from ..recipe import EngineChoice
from .base import Engine
from .constant import Constant
from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO

ENGINES: dict[str, type[OpenVINO] | type[OnnxRuntime] | type[Constant]] = {
    "openvino": OpenVINO,
    "onnxruntime": OnnxRuntime,
    "constant": Constant,
}
INSTALL = {"openvino": "pip install linejudge", "onnxruntime": "pip install 'linejudge[onnxruntime]'"}
FASTEST_FIRST = ("openvino", "onnxruntime")

_log = logging.getLogger(__name__)


def open_engine(choice: EngineChoice, bundle: Bundle) -> Engine:
    """The engine that a recipe asks for, to be entered by `with`.

    `auto` takes the fastest whose library is installed, and INT8 where the bundle has it. EngineError
    where a library is missing or the bundle lacks the precision.
    """
    kind = _kind(choice, bundle)
    if kind in INSTALL and find_spec(kind) is None:
        raise EngineError(f"engine {kind!r} needs a library that is not installed: {INSTALL[kind]}")
    precision = _precision(choice, bundle)
    _log.info("engine %s with %s, %d lanes, for bundle %s", kind, precision, choice.lanes, bundle.manifest.name)
    return ENGINES[kind](bundle, precision, choice.lanes, choice.threads)


def _kind(choice: EngineChoice, bundle: Bundle) -> str:
    constant = bundle.manifest.method == "constant"
    if choice.kind != "auto":
        # A line on which a real model was replaced by a constant would pass every part.
        if (choice.kind == "constant") != constant:
            raise EngineError(
                f"engine {choice.kind!r} cannot run a bundle of method {bundle.manifest.method!r}: "
                "set engine.kind to 'auto'"
            )
        return choice.kind
    if constant:
        return "constant"
    for kind in FASTEST_FIRST:
        if find_spec(kind):
            return kind
        _log.info("engine %s left out: its library is not installed (%s)", kind, INSTALL[kind])
    raise EngineError(f"no engine can run {bundle.folder}: install one: {INSTALL[FASTEST_FIRST[0]]}")


def _precision(choice: EngineChoice, bundle: Bundle) -> Precision:
    known = bundle.manifest.precisions()
    if choice.precision == "auto":
        if "int8" not in known:
            _log.info("int8 left out: bundle %s comes in fp32 only", bundle.manifest.name)
        return "int8" if "int8" in known else "fp32"
    if choice.precision not in known:
        raise EngineError(
            f"engine.precision {choice.precision!r}: bundle {bundle.manifest.name} comes in "
            f"{', '.join(known) or 'none'}: set 'auto' or export it"
        )
    return choice.precision
