"""FP8 rounds what INT8 rounds, as far as GPUs multiply it, and the rest is as FP16 has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edge.bundle import Bundle
from edge.errors import BundleError
from trt_build.graphs.fp8 import BLOCK, LARGEST, LEAST_SCALE, add_fp8


@pytest.fixture
def stpm(network: Callable[[str], Bundle]) -> Bundle:
    """Small and untrained, in all precisions."""
    return network("stpm")


def graph_of(bundle: Bundle, precision: str) -> tuple[onnx.GraphProto, dict[str, onnx.TensorProto]]:
    """A judge and its constants."""
    graph = onnx.load(bundle.artifact("judge", precision)).graph
    return graph, {tensor.name: tensor for tensor in graph.initializer}


def rounded(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """By the name of each convolution whose input and weights are rounded, the node that rounds its input.

    An input alone may be rounded for another convolution that reads it too.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    found = {}
    for node in graph.node:
        before = [made_by[name] for name in node.input[:2] if name in made_by]
        if node.op_type == "Conv" and [one.op_type for one in before] == ["DequantizeLinear"] * 2:
            found[node.name] = made_by[before[0].input[0]]
    return found


def test_it_rounds_what_int8_rounds_with_its_ranges(stpm: Bundle) -> None:
    """But for convolutions of odd channels; the largest value that was shown is the largest kept.

    Very small ones aside, whose scale FP16 could not hold.
    """
    (graph, constants), (int8, scales) = (graph_of(stpm, precision) for precision in ("fp8", "int8"))
    weights = {node.name: scales_of(int8, node) for node in int8.node if node.op_type == "Conv"}
    fit = {name for name in rounded(int8) if not any(size % BLOCK for size in weights[name][:2])}
    assert fit
    assert rounded(graph).keys() == fit
    for name, node in rounded(graph).items():
        assert constants[node.input[2]].data_type == TensorProto.FLOAT8E4M3FN
        mine = LARGEST * float(numpy_helper.to_array(constants[node.input[1]]))
        shown = 127 * float(numpy_helper.to_array(scales[rounded(int8)[name].input[1]]))
        assert mine == pytest.approx(max(shown, LARGEST * LEAST_SCALE), rel=0.01)


def scales_of(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[int]:
    """The shape of a convolution's weights, whether they are rounded or not."""
    constants = {tensor.name: [*tensor.dims] for tensor in graph.initializer}
    made_by = {name: one for one in graph.node for name in one.output}
    name = node.input[1]
    return constants[name] if name in constants else constants[made_by[name].input[0]]


def test_what_it_is_made_of_has_to_be_there(anomaly_draft: Path) -> None:
    """The error names what is missing."""
    with pytest.raises(BundleError, match="fp8 is made of FP16 and INT8, found no fp16"):
        add_fp8(anomaly_draft)
