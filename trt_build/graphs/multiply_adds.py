"""Counts the multiply-adds of a graph by the type in which a GPU computes them.

TensorRT engines are strongly typed: the graph states the type of every result. So what is FP32 here is computed
in FP32 on a GPU, at a small part of the speed of FP16 and INT8.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path

import onnx
from onnx import TensorProto

from edge.errors import BundleError

#: Names of the types in which graphs multiply.
TYPES: dict[int, str] = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.INT8: "INT8",
    TensorProto.FLOAT8E4M3FN: "FP8",
}
#: What makes both factors of a node: DequantizeLinear, or Cast.
ROUNDED, CAST = ["DequantizeLinear"] * 2, ["Cast"] * 2


def multiply_adds(path: Path) -> dict[str, int]:
    """Return the number of multiply-adds of a graph file for one picture, by type: FP32, FP16, INT8 and FP8.

    Convolutions, transposed convolutions, matrix products and Gemm are counted, since the rest is little. If
    both factors come from DequantizeLinear nodes, TensorRT multiplies the rounded values, so their type counts.
    If a product's factors are cast from FP16 to FP32, and the result back, it multiplies in FP16 (`fp16.py`).
    Else the type of the output counts. Raise BundleError if ONNX cannot infer a type or a shape.
    """
    model = onnx.load(path)
    _take_one_picture(model.graph)
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in known}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    dimensions = {value.name: value.type.tensor_type.shape.dim for value in known}
    shapes = {name: [one.dim_value for one in of] for name, of in dimensions.items() if _fixed(of)}
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    found = dict.fromkeys(TYPES.values(), 0)
    for node in graph.node:
        try:
            count = _count(node, shapes)
            if count:
                found[TYPES[_multiplied(node, graph, types)]] += count
        except KeyError as error:
            raise BundleError(
                f"{path}: node {node.name!r} ({node.op_type}): ONNX cannot infer a type or shape ({error}): "
                "export the checkpoint anew"
            ) from error
    return found


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the share of each type in per cent, from the numbers of multiply-adds by type."""
    total = max(1, sum(counts.values()))
    return {name: 100 * count / total for name, count in counts.items()}


def _multiplied(node: onnx.NodeProto, graph: onnx.GraphProto, types: Mapping[str, int]) -> int:
    """Return the type in which a node multiplies, as ONNX numbers types. Raise KeyError if it is unknown."""
    made_by = {name: other for other in graph.node for name in other.output}
    makers = [made_by[name] for name in node.input[:2] if name in made_by]
    kinds = [maker.op_type for maker in makers]
    before = {types[maker.input[0]] for maker in makers if maker.op_type in (*ROUNDED, *CAST)}
    if kinds == ROUNDED:
        return before.pop()
    after = {types[reader.output[0]] for reader in graph.node if node.output[0] in reader.input}
    # TensorRT joins casts with matrix products alone.
    if node.op_type == "MatMul" and kinds == CAST and before == after == {TensorProto.FLOAT16}:
        return int(TensorProto.FLOAT16)
    return types[node.output[0]]


def _take_one_picture(graph: onnx.GraphProto) -> None:
    """Set the free first dimension of all inputs and outputs to one, and forget the shapes in between."""
    for put in (*graph.input, *graph.output):
        for first in put.type.tensor_type.shape.dim[:1]:
            first.dim_value = first.dim_value or 1
    del graph.value_info[:]


def _fixed(dimensions: object) -> bool:
    return all(one.HasField("dim_value") for one in dimensions)  # type: ignore[attr-defined]


def _count(node: onnx.NodeProto, shapes: Mapping[str, list[int]]) -> int:
    """Return the multiply-adds of one node, 0 if it does not multiply. Raise KeyError for an unknown shape."""
    if node.op_type in ("Conv", "ConvTranspose"):
        # An output value of a convolution sums over a filter, an input value of a transposed one feeds one.
        on = node.output[0] if node.op_type == "Conv" else node.input[0]
        return prod(shapes[on]) * prod(shapes[node.input[1]][1:])
    if node.op_type in ("MatMul", "Gemm"):
        turned = any(one.name == "transA" and one.i for one in node.attribute)
        return prod(shapes[node.output[0]]) * shapes[node.input[0]][-2 if turned else -1]
    return 0
