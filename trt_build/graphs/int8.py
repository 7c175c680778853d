"""Quantises the convolutions of a draft's FP32 graphs to INT8, with ranges of values measured on real pictures.

Q/DQ nodes in the ONNX graph round the values. Everything is signed and symmetric, as TensorRT requires: one
scale per channel for weights, one per tensor for activations, zero points of 0, biases in float. Weights have 7
bits, so that the sums overflow on no processor (`overflow.py`). Three kinds of convolution stay in float; they
do a small share of all multiplications:

- those that read the picture, because signed INT8 would keep only half of the picture's 256 levels,
- depthwise ones, because their rounding makes a MobileNet less accurate,
- those whose rounding changes the model's outputs most (`rounding.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge.bundle import Draft, describe, read_draft
from edge.manifest import Artifact, Role
from trt_build.data.cases import Case, evenly
from trt_build.engines.overflow import check_sums
from trt_build.graphs.artifacts import inputs_of, replace_graphs
from trt_build.graphs.rounding import harmful
from trt_build.terminal.progress import counted

#: Pictures on which each convolution is rounded by itself.
PICTURES = 6


def add_int8(draft: Path, cases: Sequence[Case]) -> None:
    """Add every graph in INT8 to a draft. The ranges of values are measured on the pictures in `cases`."""
    source = read_draft(draft)
    made = [_quantize(source, role, cases) for role in source.manifest.roles]
    replace_graphs(source, "int8", made, onnxruntime=onnxruntime.__version__, calibration_pictures=len(cases))


def _quantize(draft: Draft, role: Role, cases: Sequence[Case]) -> Artifact:
    """Write one graph in INT8 into the draft's folder. Raise SumsOverflow if the graph's sums can overflow."""
    name = f"{role}.int8.onnx"
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(draft.artifact(role, "fp32"), prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            draft.folder / name,
            _Reader(inputs_of(draft, role, counted(cases, f"showing pictures to {name}"))),
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_sensitive(prepared, inputs_of(draft, role, evenly(cases, PICTURES))),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
    check_sums(draft.folder / name)
    return Artifact(role=role, precision="int8", **describe(draft.folder, name))


def _sensitive(path: Path, inputs: Iterable[dict[str, Any]]) -> list[str]:
    """Return the names of the convolutions that stay in float. Their rounding is tried on `inputs`."""
    known = _sensitive_by_kind(onnx.load(path).graph)
    return [*known, *harmful(path, list(inputs), known)]


def _sensitive_by_kind(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the convolutions that read the picture, and of the depthwise convolutions."""
    picture = {put.name for put in graph.input if put.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
    names = []
    for node in graph.node:
        if node.op_type != "Conv":
            picture |= set(node.output) if picture & set(node.input) else set()
        elif node.input[0] in picture or any(a.name == "group" and a.i > 1 for a in node.attribute):
            names.append(node.name)
    return names


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Gives ONNX Runtime the calibration inputs one after another. (The library has no types.)"""

    def __init__(self, inputs: Iterator[dict[str, Any]]) -> None:
        self._inputs = inputs

    def get_next(self) -> dict[str, Any] | None:
        return next(self._inputs, None)
