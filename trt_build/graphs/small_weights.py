"""FP32 graphs at half their size: weights rounded to FP16, and stored so, with a Cast that brings them back.

Rounding comes first, so that all other precisions are made of the weights that FP32 will have. Storing comes
last, since the tools that make them want float weights. What is computed is FP32, bit by bit as before it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import describe, read_bundle, write_manifest
from edge.manifest import Artifact

LEAST = 64  # numbers in a tensor worth the Cast


def round_weights(draft: Path) -> None:
    """Round the large weights of a draft's FP32 graphs to what FP16 can hold."""
    _each(draft, _round)


def store_weights(draft: Path) -> None:
    """Store them as FP16; only weights that FP16 holds exactly, which `round_weights` has seen to."""
    _each(draft, _store)


def _each(draft: Path, change: Callable[[onnx.GraphProto], None]) -> None:
    manifest = read_bundle(draft).manifest
    artifacts: list[Artifact] = []
    for artifact in manifest.artifacts:
        if artifact.precision == "fp32":
            model = onnx.load(draft / artifact.path)
            change(model.graph)
            onnx.save(model, draft / artifact.path)
            artifact = msgspec.structs.replace(artifact, **describe(draft, artifact.path))
        artifacts.append(artifact)
    write_manifest(draft, msgspec.structs.replace(manifest, artifacts=tuple(artifacts)))


def _round(graph: onnx.GraphProto) -> None:
    for tensor in _large(graph):
        rounded = numpy_helper.to_array(tensor).astype(np.float16)
        if np.isfinite(rounded).all():
            tensor.CopyFrom(numpy_helper.from_array(rounded.astype(np.float32), tensor.name))


def _store(graph: onnx.GraphProto) -> None:
    casts = []
    for tensor in _large(graph):
        values = numpy_helper.to_array(tensor)
        halves = values.astype(np.float16)
        if np.array_equal(halves, values):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(halves, f"{name}_fp16"))
            casts.append(
                helper.make_node("Cast", [f"{name}_fp16"], [name], f"{name}_cast", to=TensorProto.FLOAT)
            )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _large(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    return [
        tensor
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= LEAST
    ]
