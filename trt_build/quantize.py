"""A draft's FP32 graphs into INT8, as ONNX with Q/DQ nodes, calibrated on real pairs.

Signed and symmetric throughout, as TensorRT asks: weights channel by channel, activations by tensor,
all zero points zero, biases in float. Only what goes into and comes out of convolutions is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge.bundle import Bundle, describe, read_bundle, write_manifest
from edge.manifest import Artifact, Role
from trt_build.dataset import Pair


def quantize(draft: Path, pairs: Sequence[Pair]) -> None:
    """Add both graphs in INT8 to a draft; the ranges of activations are those that the pairs show."""
    bundle = read_bundle(draft)
    int8 = [
        _quantized(bundle, "judge", _JudgeInputs(bundle, pairs)),
        _quantized(bundle, "reference", _Masters(bundle, pairs)),
    ]
    others = [artifact for artifact in bundle.manifest.artifacts if artifact.precision != "int8"]
    facts = bundle.manifest.facts | {
        "onnxruntime": onnxruntime.__version__,
        "calibration_pairs": len(pairs),
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
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
    return Artifact(role=role, precision="int8", **describe(bundle.folder, name))


class _Masters(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """The reference graph's input for each pair, one after another."""

    def __init__(self, bundle: Bundle, pairs: Sequence[Pair]) -> None:
        self._spec, self._pairs = bundle.manifest.input, iter(pairs)

    def get_next(self) -> dict[str, Any] | None:
        pair = next(self._pairs, None)
        return {"master": self._spec.tensor(pair.master)} if pair else None


class _JudgeInputs(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """The judge's inputs for each pair, one after another."""

    def __init__(self, bundle: Bundle, pairs: Sequence[Pair]) -> None:
        self._manifest = bundle.manifest
        path = str(bundle.artifact("reference", "fp32"))
        self._reference = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._pairs = iter(pairs)

    def get_next(self) -> dict[str, Any] | None:
        pair = next(self._pairs, None)
        if pair is None:
            return None
        spec, names = self._manifest.input, self._manifest.features
        features = self._reference.run(names, {"master": spec.tensor(pair.master)})
        return {"image": spec.tensor(pair.board), **dict(zip(names, features, strict=True))}
