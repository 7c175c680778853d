"""Converts a draft's FP32 graphs to FP16 with ModelOpt AutoCast.

A GPU computes each node in the precision that the node has in the graph, so this module chooses the nodes.
Convolutions, a matcher's dense layer and the nodes between them become FP16. So do products with a constant
matrix, such as whitening (making features uncorrelated); it subtracts large terms that are almost equal, so its
sums stay FP32. Everything else stays FP32: distances square small differences, and a product of three small
numbers would become 0 in FP16. Pictures stay uint8. All other inputs and outputs, also features, stay float32.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge.bundle import Draft, describe, read_draft
from edge.manifest import Artifact, Role
from trt_build.data.cases import Case, evenly
from trt_build.graphs.artifacts import inputs_of, replace_graphs

MULTIPLY = {"Conv", "Gemm"}
#: Nodes that may lie between: they select, or give results about as large as their inputs.
BETWEEN = {
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Flatten",
    "MaxPool",
    "Mul",
    "Pad",
}
BETWEEN |= {"Relu", "Reshape", "Resize", "Sigmoid", "Sub"}
#: A node with a larger value on any picture stays in FP32; FP16 ends at 65504.
LARGEST = 2.0**14
#: Pictures on which those values are measured; AutoCast keeps every result of all of them in memory.
PICTURES = 4


def add_fp16(draft: Path, cases: Sequence[Case] = ()) -> None:
    """Add every graph in FP16 to a draft. Nodes that give very large values for `cases` stay in FP32."""
    source = read_draft(draft)
    made = [_to_fp16(source, role, evenly(cases, PICTURES)) for role in source.manifest.roles]
    replace_graphs(source, "fp16", made)


def _to_fp16(draft: Draft, role: Role, cases: Sequence[Case]) -> Artifact:
    """Write the graph of this role in FP16 into the draft's folder. Return its entry for the manifest."""
    from modelopt.onnx.autocast import convert_to_mixed_precision

    # AutoCast warns of every constant that it copies or rounds.
    for name in ("modelopt.onnx", "modelopt.onnx.autocast"):
        logging.getLogger(name).setLevel(logging.ERROR)
    name = f"{role}.fp16.onnx"
    model = onnx.load(draft.artifact(role, "fp32"))
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    chosen = _chosen(model.graph)
    with TemporaryDirectory() as folder:
        named, shown = Path(folder) / "named.onnx", Path(folder) / "shown"
        onnx.save(model, named)
        shown.mkdir()
        for i, inputs in enumerate(inputs_of(draft, role, cases)):
            np.savez(shown / f"{i}.npz", **inputs)
        converted = convert_to_mixed_precision(
            str(named),
            low_precision_type="fp16",
            nodes_to_exclude=[
                re.escape(node.name) + "$" for node in model.graph.node if node.name not in chosen
            ],
            data_max=LARGEST if cases else np.inf,
            calibration_data=str(shown),
            keep_io_types=True,
        )
    # Some of these describe tensors that AutoCast took out again.
    del converted.graph.value_info[:]
    _add_in_fp32(converted.graph)
    onnx.save(converted, draft.folder / name)
    return Artifact(role=role, precision="fp16", **describe(draft.folder, name))


def _chosen(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the nodes that become FP16: those that multiply, and the nodes between them.

    A node lies between if all its inputs come from chosen nodes and a chosen node reads its result. Other nodes
    would round their results without making the graph faster.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    read_by = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            read_by[name].append(node.name)
    features = {put.name for put in graph.input if put.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    constants = {"", *(tensor.name for tensor in graph.initializer)}
    multiply = {node.name for node in graph.node if node.op_type in MULTIPLY} | _products(graph)
    chosen = multiply | {node.name for node in graph.node if node.op_type in BETWEEN}
    while True:
        apart = {
            node.name
            for node in graph.node
            if node.name in chosen
            and node.name not in multiply
            and not (
                all(
                    name in features or (name in made_by and made_by[name].name in chosen)
                    for name in node.input
                    if name not in constants
                )
                and any(reader in chosen for name in node.output for reader in read_by[name])
            )
        }
        if not apart:
            return chosen
        chosen -= apart


def _products(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the products of a constant matrix with something else."""
    matrices = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2}
    return {node.name for node in graph.node if node.op_type == "MatMul" and matrices & {*node.input}}


def _add_in_fp32(graph: onnx.GraphProto) -> None:
    """Have the sums of FP16 products computed in FP32: cast the factors to FP32, and the result back to FP16.

    TensorRT joins these casts with the product, which then multiplies in FP16 and adds in FP32. Without them it
    may add in FP16. Source: Torch-TensorRT's option `use_fp32_acc` (pytorch/TensorRT, pull request 3110).
    """
    halves = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "MatMul" or not halves & {*node.input}:
            nodes.append(node)
            continue
        (result,) = node.output
        for number, name in enumerate(node.input):
            node.input[number] = f"{node.name}_factor_{number}"
            nodes.append(helper.make_node("Cast", [name], [node.input[number]], to=TensorProto.FLOAT))
        node.output[0] = f"{result}_in_fp32"
        nodes += [node, helper.make_node("Cast", [node.output[0]], [result], to=TensorProto.FLOAT16)]
    del graph.node[:]
    graph.node.extend(nodes)
