"""Graphs of the tiny comparator that go wrong at pictures of certain numbers, in the engine itself.

The golden frames are judged as they should be, so a line is armed with such a bundle. The faults lie in the
data that the graphs compute with, so any engine that runs ONNX meets them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edge.bundle import describe, read_model, write_manifest


def faulty(bundle: Path, folder: Path, faults: Mapping[str, int]) -> Path:
    """A copy of the tiny bundle whose FP32 judge has each of the faults at the pictures of its number.

    `nan`: outputs are no numbers; `error`: the engine says an error; `shape`: the map has another shape;
    `hang`: the engine never answers.
    """
    shutil.copytree(bundle, folder)
    manifest = read_model(folder).manifest
    artifacts = []
    for artifact in manifest.artifacts:
        if (artifact.role, artifact.precision) == ("judge", "fp32"):
            model = onnx.load(folder / artifact.path)
            for fault, number in faults.items():
                _add(model.graph, fault, number)
            onnx.checker.check_model(model)
            onnx.save(model, folder / artifact.path)
            artifact = msgspec.structs.replace(artifact, **describe(folder, artifact.path))
        artifacts.append(artifact)
    write_manifest(folder, msgspec.structs.replace(manifest, artifacts=tuple(artifacts)))
    return folder


def _add(graph: onnx.GraphProto, fault: str, number: int) -> None:
    """Put nodes behind the map, which see from the largest difference whether the picture has the number."""
    for node in graph.node:
        node.output[:] = [f"map before {fault}" if name == "map" else name for name in node.output]
    _constant(graph, f"{fault}: low", np.float32((number - 0.5) / 255))
    _constant(graph, f"{fault}: high", np.float32((number + 0.5) / 255))
    node = helper.make_node
    graph.node.extend(
        [
            node("ReduceMax", ["absolute"], [f"{fault}: largest"], keepdims=0),
            node("Greater", [f"{fault}: largest", f"{fault}: low"], [f"{fault}: above"]),
            node("Less", [f"{fault}: largest", f"{fault}: high"], [f"{fault}: below"]),
            node("And", [f"{fault}: above", f"{fault}: below"], [f"{fault}: is it"]),
            *_FAULTS[fault](graph),
        ]
    )


def _constant(graph: onnx.GraphProto, name: str, value: object) -> None:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def _chosen(graph: onnx.GraphProto, fault: str, right: object, wrong: object) -> NodeProto:
    """Choose `wrong` at pictures of the number, `right` at all others, as `<fault>: chosen`."""
    _constant(graph, f"{fault}: right", right)
    _constant(graph, f"{fault}: wrong", wrong)
    return helper.make_node(
        "Where", [f"{fault}: is it", f"{fault}: wrong", f"{fault}: right"], [f"{fault}: chosen"]
    )


def _nan(graph: onnx.GraphProto) -> list[NodeProto]:
    choose = _chosen(graph, "nan", np.float32(0), np.float32("nan"))
    return [choose, helper.make_node("Add", ["map before nan", "nan: chosen"], ["map"])]


def _error(graph: onnx.GraphProto) -> list[NodeProto]:
    """Reshape the map to a shape that has not as many places."""
    kinds = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    choose = _chosen(graph, "error", np.array([1, kinds, 16, 16]), np.array([1, kinds, 16, 17]))
    return [choose, helper.make_node("Reshape", ["map before error", "error: chosen"], ["map"])]


def _shape(graph: onnx.GraphProto) -> list[NodeProto]:
    """Cut the lower half of the map off."""
    _constant(graph, "shape: start", np.array([0]))
    _constant(graph, "shape: axis", np.array([2]))
    choose = _chosen(graph, "shape", np.array([16]), np.array([8]))
    names = ["map before shape", "shape: start", "shape: chosen", "shape: axis"]
    return [choose, helper.make_node("Slice", names, ["map"])]


def _hang(graph: onnx.GraphProto) -> list[NodeProto]:
    """Add zero to the map for ever."""
    state = helper.make_tensor_value_info("hang: before", TensorProto.FLOAT, None)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["hang: go on"], ["hang: goes on"]),
            helper.make_node("Add", ["hang: before", "hang: zero"], ["hang: after"]),
        ],
        "again",
        [
            helper.make_tensor_value_info("hang: turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("hang: go on", TensorProto.BOOL, []),
            state,
        ],
        [
            helper.make_tensor_value_info("hang: goes on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("hang: after", TensorProto.FLOAT, None),
        ],
        [numpy_helper.from_array(np.float32(0), "hang: zero")],
    )
    _constant(graph, "hang: true", np.array(True))
    choose = _chosen(graph, "hang", np.array(1), np.array(2**62))
    return [
        choose,
        helper.make_node("Loop", ["hang: chosen", "hang: true", "map before hang"], ["map"], body=body),
    ]


_FAULTS = {"nan": _nan, "error": _error, "shape": _shape, "hang": _hang}
