"""Quantises the convolutions of a draft's FP16 graphs: Q/DQ nodes round their inputs and weights.

Convolutions that are INT8 in the INT8 graphs are rounded, with the ranges of values that were measured for
INT8. The rest stays as it is in the FP16 graphs, so a GPU computes it in FP16. In the INT8 graphs, which are
made of the FP32 graphs, it would compute the rest in FP32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import Draft, describe, read_draft
from edge.errors import BundleError
from edge.manifest import Artifact, Precision, Role
from trt_build.graphs.artifacts import replace_graphs

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """How values are rounded: to which type, with which scales, and in which convolutions."""

    precision: Precision
    type: int  # of the rounded values, as ONNX numbers types
    largest: float  # number in this type
    least_scale: float  # in FP16
    per_channel: bool  # whether each output channel's weights have a scale of their own
    fits: Callable[[tuple[int, ...]], bool]  # whether weights of this shape are rounded
    to_bytes: Callable[[Floats], bytes]  # rounds values from -largest to largest


def add_rounded(draft: Path, rounding: Rounding) -> None:
    """Add every graph, rounded so, to a draft. Raise BundleError if the draft lacks graphs in FP16 or INT8."""
    source = read_draft(draft)
    missing = {"fp16", "int8"} - {*source.manifest.precisions()}
    if missing:
        raise BundleError(
            f"{draft}: {rounding.precision} is made of FP16 and INT8, found no "
            f"{' and no '.join(sorted(missing))}: export the checkpoint anew, with --data"
        )
    made = [_rounded(source, role, rounding) for role in source.manifest.roles]
    replace_graphs(source, rounding.precision, made)


def _rounded(draft: Draft, role: Role, rounding: Rounding) -> Artifact:
    """Write the graph of this role into the draft's folder. Return its entry for the manifest."""
    model = onnx.load(draft.artifact(role, "fp16"))
    graph = model.graph
    largest = _largest(onnx.load(draft.artifact(role, "int8")).graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    # Name of a tensor -> name of what it becomes.
    done: dict[str, str] = {}
    for node in graph.node:
        if node.name in largest and rounding.fits(tuple(weights[node.input[1]].dims)):
            seen, weight = node.input[:2]
            # A convolution of very large values is FP32 in the FP16 graph, and so are its scales.
            of = weights[weight].data_type
            if seen not in done:
                scale, zero = _scale(graph, seen, np.float32(largest[node.name]), of, rounding)
                done[seen] = f"{seen}_dequantized"
                nodes += [
                    helper.make_node("QuantizeLinear", [seen, scale, zero], [f"{seen}_rounded"]),
                    helper.make_node("DequantizeLinear", [f"{seen}_rounded", scale, zero], [done[seen]]),
                ]
            if weight not in done:
                done[weight] = f"{weight}_dequantized"
                nodes.append(_stored(graph, weights[weight], done[weight], rounding))
            node.input[0], node.input[1] = done[seen], done[weight]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    for number, node in enumerate(nodes):
        node.name = node.name or f"{node.op_type}_{number}"
    onnx.checker.check_model(model, full_check=True)
    name = f"{role}.{rounding.precision}.onnx"
    onnx.save(model, draft.folder / name)
    return Artifact(role=role, precision=rounding.precision, **describe(draft.folder, name))


def _largest(graph: onnx.GraphProto) -> dict[str, float]:
    """Return the largest input value of each convolution that INT8 quantises, by the convolution's name."""
    scales = {tensor.name: tensor for tensor in graph.initializer}
    rounding = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    found = {}
    for node in graph.node:
        # The input alone may be rounded for another convolution that reads it too.
        if node.op_type == "Conv" and node.input[0] in rounding and node.input[1] in rounding:
            scale = scales[rounding[node.input[0]].input[1]]
            found[node.name] = 127 * float(numpy_helper.to_array(scale))
    return found


def _stored(graph: onnx.GraphProto, weight: TensorProto, name: str, rounding: Rounding) -> onnx.NodeProto:
    """Add rounded weights to the graph. Return the node that makes the tensor `name` of them."""
    values = numpy_helper.to_array(weight).astype(np.float32)
    channels = values.reshape(len(values) if rounding.per_channel else 1, -1)
    # One number if all channels share a scale.
    largest = np.abs(channels).max(axis=1).reshape(-1 if rounding.per_channel else ())
    scale, zero = _scale(graph, weight.name, largest, weight.data_type, rounding)
    steps = channels / _value(graph, scale).astype(np.float32).reshape(-1, 1)
    stored = _tensor(f"{weight.name}_rounded", steps.reshape(values.shape), rounding)
    graph.initializer.append(stored)
    return helper.make_node("DequantizeLinear", [stored.name, scale, zero], [name], axis=0)


def _scale(graph: onnx.GraphProto, name: str, largest: Floats, of: int, rounding: Rounding) -> tuple[str, str]:
    """Add the scale and the zero point of the tensor `name` to the graph, for values up to `largest`.

    `of` is the type of the tensor, and so of its scale. Return the names of the scale and of the zero point.
    """
    least = rounding.least_scale if of == TensorProto.FLOAT16 else float(np.finfo(np.float32).tiny)
    scale = np.maximum(largest / rounding.largest, least)
    typed = numpy_helper.from_array(scale.astype(helper.tensor_dtype_to_np_dtype(of)), f"{name}_scale")
    zero = _tensor(f"{name}_zero", np.zeros_like(scale), rounding)
    graph.initializer.extend((typed, zero))
    return typed.name, zero.name


def _value(graph: onnx.GraphProto, name: str) -> Floats:
    return numpy_helper.to_array(next(tensor for tensor in graph.initializer if tensor.name == name))


def _tensor(name: str, steps: Floats, rounding: Rounding) -> TensorProto:
    """Return a tensor of the rounded type with these values, which are in units of the scale."""
    held = rounding.to_bytes(steps.clip(-rounding.largest, rounding.largest))
    return helper.make_tensor(name, rounding.type, steps.shape, held, raw=True)
