"""A draft's FP32 graphs into INT8, as ONNX with Q/DQ nodes, calibrated on real pictures.

Signed and symmetric throughout, as TensorRT asks: weights channel by channel, activations by tensor,
all zero points zero, biases in float. Only what goes into convolutions is rounded, and into two kinds not even
that, which are a few in a hundred of all multiplications: those that read the picture, of whose 256 levels INT8
with a sign would keep half, and depthwise ones, whose rounding is what costs a MobileNet its accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from trt_build.cases import Case


def quantize(draft: Path, cases: Sequence[Case]) -> None:
    """Add every graph in INT8 to a draft; the ranges of activations are those that the cases show."""
    bundle = read_bundle(draft)
    int8 = [_quantized(bundle, "judge", _JudgeInputs(bundle, cases))]
    if bundle.manifest.features:
        int8.append(_quantized(bundle, "reference", _Masters(cases)))
    others = [artifact for artifact in bundle.manifest.artifacts if artifact.precision != "int8"]
    facts = bundle.manifest.facts | {
        "onnxruntime": onnxruntime.__version__,
        "calibration_pictures": len(cases),
    }
    write_manifest(draft, msgspec.structs.replace(bundle.manifest, artifacts=(*others, *int8), facts=facts))


def _quantized(bundle: Bundle, role: Role, inputs: CalibrationDataReader) -> Artifact:
    name = f"{role}.int8.onnx"
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(bundle.artifact(role, "fp32"), prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            bundle.folder / name,
            inputs,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_sensitive(onnx.load(prepared).graph),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
    return Artifact(role=role, precision="int8", **describe(bundle.folder, name))


def _sensitive(graph: onnx.GraphProto) -> list[str]:
    """The names of the convolutions that stay as they are: those of the picture, and depthwise ones."""
    picture = {put.name for put in graph.input if put.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
    names = []
    for node in graph.node:
        if node.op_type != "Conv":
            picture |= set(node.output) if picture & set(node.input) else set()
        elif node.input[0] in picture or any(a.name == "group" and a.i > 1 for a in node.attribute):
            names.append(node.name)
    return names


class _Masters(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """The reference graph's input for each case, one after another."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = iter(cases)

    def get_next(self) -> dict[str, Any] | None:
        case = next(self._cases, None)
        return {"master": case.master} if case else None


class _JudgeInputs(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """The judge's inputs for each case, one after another."""

    def __init__(self, bundle: Bundle, cases: Sequence[Case]) -> None:
        self._names = bundle.manifest.features
        if self._names:
            path = str(bundle.artifact("reference", "fp32"))
            self._reference = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._cases = iter(cases)

    def get_next(self) -> dict[str, Any] | None:
        case = next(self._cases, None)
        if case is None:
            return None
        features = self._reference.run(self._names, {"master": case.master}) if self._names else []
        return {"image": case.image, **dict(zip(self._names, features, strict=True))}
