"""Halves the size of FP32 graphs by storing their weights as FP16. A Cast node turns them into FP32 again.

`round_weights` runs first, so that all other precisions are made from the rounded weights. `store_weights` runs
last, because the tools that make the other precisions need float weights. Storing changes no result: the graph
still computes in FP32.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import describe, read_draft, write_manifest
from edge.manifest import Artifact

#: Fewest numbers in a tensor that make up for the Cast.
LEAST = 64


def round_weights(draft: Path) -> None:
    """In a draft's FP32 graphs, round each tensor of at least LEAST weights to numbers that FP16 can hold."""
    _each(draft, _round)


def store_weights(draft: Path) -> None:
    """In a draft's FP32 graphs, store each tensor of at least LEAST weights as FP16 if that is exact."""
    _each(draft, _store)


def _each(draft: Path, change: Callable[[onnx.GraphProto], None]) -> None:
    """Apply `change` to every FP32 graph of a draft, and write the graph's new digest into the manifest."""
    manifest = read_draft(draft).manifest
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
