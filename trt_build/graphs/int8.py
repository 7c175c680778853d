"""A draft's FP32 graphs into INT8, as ONNX with Q/DQ nodes, calibrated on real pictures.

Signed and symmetric throughout, as TensorRT asks: weights channel by channel, activations by tensor,
all zero points zero, biases in float. Weights have 7 bits, so that the sums overflow on no processor
(`overflow.py`). Only what goes into convolutions is rounded, and into three kinds not even that, which are few
of all multiplications: those that read the picture, of whose 256 levels INT8 with a sign would keep half,
depthwise ones, whose rounding is what costs a MobileNet its accuracy, and those whose rounding spoils what the
model says of the pictures that are shown (`rounding.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge.bundle import Bundle, describe, read_bundle, write_manifest
from edge.manifest import Artifact, Role
from trt_build.data.cases import Case, evenly
from trt_build.engines.overflow import check_sums
from trt_build.graphs.rounding import harmful
from trt_build.terminal.progress import counted

LOOKED_AT = 6  # pictures on which each convolution is rounded by itself


def add_int8(draft: Path, cases: Sequence[Case]) -> None:
    """Add every graph in INT8 to a draft; the ranges of activations are those that the cases show."""
    bundle = read_bundle(draft)
    roles: tuple[Role, ...] = ("judge", "reference") if bundle.manifest.features else ("judge",)
    int8 = [_quantized(bundle, role, cases) for role in roles]
    others = [artifact for artifact in bundle.manifest.artifacts if artifact.precision != "int8"]
    facts = bundle.manifest.facts | {
        "onnxruntime": onnxruntime.__version__,
        "calibration_pictures": len(cases),
    }
    write_manifest(draft, msgspec.structs.replace(bundle.manifest, artifacts=(*others, *int8), facts=facts))


def inputs_of(bundle: Bundle, role: Role, cases: Iterable[Case]) -> Iterator[dict[str, Any]]:
    """What a graph of this role is given for each case, by the names of its inputs, one after another."""
    names = bundle.manifest.features
    if role == "reference" or not names:
        yield from ({"master": case.master} if role == "reference" else {"image": case.image} for case in cases)
        return
    path = str(bundle.artifact("reference", "fp32"))
    reference = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for case in cases:
        features = reference.run(names, {"master": case.master})
        yield {"image": case.image, **dict(zip(names, features, strict=True))}


def _quantized(bundle: Bundle, role: Role, cases: Sequence[Case]) -> Artifact:
    name = f"{role}.int8.onnx"
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(bundle.artifact(role, "fp32"), prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            bundle.folder / name,
            _Shown(inputs_of(bundle, role, counted(cases, f"showing pictures to {name}"))),
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_sensitive(prepared, inputs_of(bundle, role, evenly(cases, LOOKED_AT))),
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
    check_sums(bundle.folder / name)
    return Artifact(role=role, precision="int8", **describe(bundle.folder, name))


def _sensitive(path: Path, inputs: Iterable[dict[str, Any]]) -> list[str]:
    """The names of the convolutions that stay as they are."""
    known = _of_kind(onnx.load(path).graph)
    return [*known, *harmful(path, list(inputs), known)]


def _of_kind(graph: onnx.GraphProto) -> list[str]:
    """Those that read the picture, and depthwise ones."""
    picture = {put.name for put in graph.input if put.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
    names = []
    for node in graph.node:
        if node.op_type != "Conv":
            picture |= set(node.output) if picture & set(node.input) else set()
        elif node.input[0] in picture or any(a.name == "group" and a.i > 1 for a in node.attribute):
            names.append(node.name)
    return names


class _Shown(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """Inputs one after another, as the library asks for them."""

    def __init__(self, inputs: Iterator[dict[str, Any]]) -> None:
        self._inputs = inputs

    def get_next(self) -> dict[str, Any] | None:
        return next(self._inputs, None)
