"""Quantises the convolutions of a draft's FP16 graphs to FP8.

Convolutions that are INT8 in the INT8 graphs become FP8, with the ranges of values that were measured for INT8.
Only those are taken whose numbers of input and output channels are multiples of 16, as FP8 multipliers require.
FP8 (E4M3) has three mantissa bits at any magnitude. One scale per tensor is therefore enough for weights, but
large values are less exact than in INT8: too coarse for models that give all features the same variance (image
AUROC of STPM on MVTec's pill: 97.1 in FP32, 96.9 in INT8, 74.7 in FP8). So `trt-build export` makes FP8 only on
request. `docs/decisions/fp8-by-hand.md` says why ModelOpt does not make the FP8 graphs.
"""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import Draft, describe, read_draft
from edge.errors import BundleError
from edge.manifest import Artifact, Role
from trt_build.graphs.artifacts import replace_graphs

#: Largest number in E4M3.
LARGEST = 448.0
#: Channels in a block.
BLOCK = 16
#: Smallest normal number in FP16.
LEAST_SCALE = 2.0**-14


def add_fp8(draft: Path) -> None:
    """Add every graph in FP8 to a draft. Raise BundleError if the draft lacks graphs in FP16 or INT8."""
    source = read_draft(draft)
    missing = {"fp16", "int8"} - {*source.manifest.precisions()}
    if missing:
        raise BundleError(f"{draft}: FP8 is made of FP16 and INT8, found no {' and no '.join(sorted(missing))}")
    replace_graphs(source, "fp8", [_to_fp8(source, role) for role in source.manifest.roles])


def _to_fp8(draft: Draft, role: Role) -> Artifact:
    """Write the graph of this role in FP8 into the draft's folder. Return its entry for the manifest."""
    model = onnx.load(draft.artifact(role, "fp16"))
    graph = model.graph
    largest = _largest(onnx.load(draft.artifact(role, "int8")).graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    # Name of a tensor -> name of what it becomes.
    done: dict[str, str] = {}
    for node in graph.node:
        if node.name in largest and _in_blocks(weights[node.input[1]].dims):
            seen, weight = node.input[:2]
            if seen not in done:
                scale = _scale(graph, seen, largest[node.name])
                done[seen] = f"{seen}_dequantized"
                nodes += [
                    helper.make_node("QuantizeLinear", [seen, *scale], [f"{seen}_float8"]),
                    helper.make_node("DequantizeLinear", [f"{seen}_float8", *scale], [done[seen]]),
                ]
            if weight not in done:
                values = numpy_helper.to_array(weights[weight]).astype(np.float32)
                scale = _scale(graph, weight, float(np.abs(values).max()))
                stored = _in_fp8(values / _value(graph, scale[0]), f"{weight}_float8")
                graph.initializer.append(stored)
                done[weight] = f"{weight}_dequantized"
                nodes.append(helper.make_node("DequantizeLinear", [stored.name, *scale], [done[weight]]))
            node.input[0], node.input[1] = done[seen], done[weight]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    for number, node in enumerate(nodes):
        node.name = node.name or f"{node.op_type}_{number}"
    onnx.checker.check_model(model)
    name = f"{role}.fp8.onnx"
    onnx.save(model, draft.folder / name)
    return Artifact(role=role, precision="fp8", **describe(draft.folder, name))


def _largest(graph: onnx.GraphProto) -> dict[str, float]:
    """Return the largest input value of each convolution that INT8 quantises, by the convolution's name."""
    scales = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    found = {}
    for node in graph.node:
        rounding = made_by.get(node.input[0]) if node.op_type == "Conv" else None
        if rounding is not None and rounding.op_type == "DequantizeLinear":
            found[node.name] = 127 * float(numpy_helper.to_array(scales[rounding.input[1]]))
    return found


def _in_blocks(weight: tuple[int, ...]) -> bool:
    """Return whether weights of this shape have whole blocks of input channels and of output channels."""
    return not (weight[0] % BLOCK or weight[1] % BLOCK)


def _scale(graph: onnx.GraphProto, name: str, largest: float) -> tuple[str, str]:
    """Add the scale and zero point of the tensor `name` to the graph, for values up to `largest`.

    Return the names of the scale and of the zero point.
    """
    scale = np.array(max(largest / LARGEST, LEAST_SCALE), np.float16)
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
    graph.initializer.append(_in_fp8(np.zeros((), np.float32), f"{name}_zero"))
    return f"{name}_scale", f"{name}_zero"


def _value(graph: onnx.GraphProto, name: str) -> float:
    return float(numpy_helper.to_array(next(tensor for tensor in graph.initializer if tensor.name == name)))


def _in_fp8(values: NDArray[np.float32], name: str) -> TensorProto:
    rounded = values.clip(-LARGEST, LARGEST).astype(ml_dtypes.float8_e4m3fn)
    return helper.make_tensor(name, TensorProto.FLOAT8E4M3FN, values.shape, rounded.tobytes(), raw=True)
