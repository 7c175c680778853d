"""A draft's FP32 judge into INT8, as ONNX with Q/DQ nodes, calibrated on real pairs.

Signed and symmetric throughout, as TensorRT asks: weights channel by channel, activations by tensor,
all zero points zero, biases in float. Only what goes into and comes out of convolutions is rounded. The
reference graph stays FP32: it runs once for each master, and quantising it too changed no figure.
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
from edge.manifest import Artifact
from trt_build.dataset import Pair

INT8 = "judge.int8.onnx"


def quantize(draft: Path, pairs: Sequence[Pair]) -> None:
    """Add the INT8 judge to a draft; the ranges of activations are those that the pairs show."""
    bundle = read_bundle(draft)
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "judge.onnx"
        quant_pre_process(bundle.artifact("judge", "fp32"), prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            draft / INT8,
            _Calibration(bundle, pairs),
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
    others = tuple(artifact for artifact in bundle.manifest.artifacts if artifact.path != INT8)
    int8 = Artifact(role="judge", precision="int8", **describe(draft, INT8))
    facts = bundle.manifest.facts | {
        "onnxruntime": onnxruntime.__version__,
        "calibration_pairs": len(pairs),
    }
    write_manifest(draft, msgspec.structs.replace(bundle.manifest, artifacts=(*others, int8), facts=facts))


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
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
