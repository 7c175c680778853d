"""Every way in which a precision can be computed here: by engines, instruction sets and exact integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from edge.bundle import Model
from edge.engines import ON_CPU, open_engine
from edge.engines.base import Engine, Outputs
from edge.manifest import Precision
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answers_of
from trt_build.engines import instruction_sets
from trt_build.engines.build import compiled_here
from trt_build.engines.exact import Exact


def engines_of(bundle: Model, precision: Precision) -> list[Engine]:
    """What computes a precision here, to be entered by `with`.

    A GPU alone runs FP16 and FP8 on the line; here they are run by what rounds as it does. The engines that
    were built for this device count too: what they differ by is what the line will see.
    """
    built = compiled_here(bundle, precision)
    if precision in ON_CPU:
        kinds: tuple[Literal["openvino", "onnxruntime"], ...] = ("openvino", "onnxruntime")
        return [*(open_engine(EngineChoice(kind=kind, precision=precision), bundle) for kind in kinds), *built]
    from trt_build.engines.emulated import Emulated  # here, for packing FP32 and INT8 needs no onnx

    return [Emulated(bundle, precision), *built]


def runs_of(bundle: Model, precision: Precision, cases: Sequence[Case]) -> Iterator[tuple[str, list[Outputs]]]:
    """By name, what each way answers to the cases; INT8 in exact integers comes first."""
    unopened = [Exact(bundle, precision)] if precision == "int8" else []
    for engine in (*unopened, *engines_of(bundle, precision)):
        with engine:
            yield f"{engine.name} {precision}", answers_of(engine, bundle.manifest, cases)
    for name in instruction_sets.playable() if precision == "int8" else ():  # FP32 hardly differs
        yield f"openvino {precision} with {name}", instruction_sets.judge_with(name, bundle, precision, cases)
