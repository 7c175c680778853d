"""A draft's FP32 judge into INT8, as ONNX with Q/DQ nodes, calibrated on real pairs.

Quantisation is symmetric: weights channel by channel, activations by tensor, all zero points zero,
biases in float, as OpenVINO runs fastest and as TensorRT asks. The reference graph stays FP32: it runs
once for each master, and quantising it too changed no figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import nncf
import onnx
import onnxruntime

from edge.bundle import describe, read_bundle, write_manifest
from edge.manifest import Artifact
from trt_build.dataset import Pair

INT8 = "judge.int8.onnx"


def quantize(draft: Path, pairs: Sequence[Pair]) -> None:
    """Add the INT8 judge to a draft; the ranges of activations are those that the pairs show."""
    bundle = read_bundle(draft)
    manifest = bundle.manifest
    reference = onnxruntime.InferenceSession(
        str(bundle.artifact("reference", "fp32")), providers=["CPUExecutionProvider"]
    )

    def feed(pair: Pair) -> dict[str, Any]:
        features = reference.run(manifest.features, {"master": manifest.input.tensor(pair.master)})
        return {
            "image": manifest.input.tensor(pair.board),
            **dict(zip(manifest.features, features, strict=True)),
        }

    quantized = nncf.quantize(
        onnx.load(bundle.artifact("judge", "fp32")),
        nncf.Dataset(pairs, feed),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(pairs),
    )
    onnx.save(quantized, draft / INT8)
    others = tuple(artifact for artifact in manifest.artifacts if artifact.path != INT8)
    int8 = Artifact(role="judge", precision="int8", **describe(draft, INT8))
    facts = manifest.facts | {"nncf": nncf.__version__, "calibration_pairs": len(pairs)}
    write_manifest(draft, msgspec.structs.replace(manifest, artifacts=(*others, int8), facts=facts))
