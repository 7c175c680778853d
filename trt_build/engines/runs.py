"""Computes the same cases in every way that this machine can, so that the answers can be compared."""

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
    """Return the engines that can compute this precision on this machine. They are not open yet.

    For FP16 and FP8, which a line runs only on a GPU, one of the engines runs on the CPU but rounds as a GPU
    does. Engines that were built for this device are included, because the line will use them.
    """
    built = compiled_here(bundle, precision)
    if precision in ON_CPU:
        kinds: tuple[Literal["openvino", "onnxruntime"], ...] = ("openvino", "onnxruntime")
        return [*(open_engine(EngineChoice(kind=kind, precision=precision), bundle) for kind in kinds), *built]
    # Imported here, since packing FP32 and INT8 needs no onnx.
    from trt_build.engines.emulated import Emulated

    return [Emulated(bundle, precision), *built]


def runs_of(bundle: Model, precision: Precision, cases: Sequence[Case]) -> Iterator[tuple[str, list[Outputs]]]:
    """Compute the cases in every way that this machine can; yield the name and the outputs of each way.

    For INT8, the first way computes the graph exactly, and its outputs are a reference for the other ways.
    """
    unopened = [Exact(bundle, precision)] if precision == "int8" else []
    for engine in (*unopened, *engines_of(bundle, precision)):
        with engine:
            yield f"{engine.name} {precision}", answers_of(engine, bundle.manifest, cases)
    # FP32 hardly differs between instruction sets.
    for name in instruction_sets.playable() if precision == "int8" else ():
        yield f"openvino {precision} with {name}", instruction_sets.judge_with(name, bundle, precision, cases)
