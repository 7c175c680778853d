"""INT8 computes the same on every processor, since no sum of any layer can leave what the weakest one holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from edge.bundle import read_model
from trt_build.engines.overflow import SumsOverflow, WorstSums, check_sums, worst_sums

ROOT = Path(__file__).parents[3]


def graph(folder: Path, weights: npt.NDArray[np.int8]) -> Path:
    """A graph in which these weights are turned back into float, filter by filter."""
    node = helper.make_node("DequantizeLinear", ["weights", "scale"], ["floats"], axis=0)
    stored = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.ones(len(weights), np.float32), "scale"),
    ]
    floats = helper.make_tensor_value_info("floats", onnx.TensorProto.FLOAT, weights.shape)
    model = helper.make_model(helper.make_graph([node], "layer", [], [floats], stored))
    onnx.save(model, folder / "judge.int8.onnx")
    return folder / "judge.int8.onnx"


@pytest.mark.parametrize(
    ("weights", "pair", "whole"),
    [
        ([[64, 64, 64]], 255 * 128, 255 * 192),
        ([[64, -64, 1]], 255 * 65, 255 * 65),
        ([[-127, -2, 100]], 255 * 129, 255 * 129),
        ([[127, 1, 0], [64, 64, 0]], 255 * 128, 255 * 128),
        ([[127], [127]], 255 * 127, 255 * 127),
    ],
    ids=["one sign", "signs apart", "the negative ones", "each filter by itself", "one weight a filter"],
)
def test_the_worst_sum_is_of_the_two_largest_weights_of_one_sign(
    tmp_path: Path, weights: list[list[int]], pair: int, whole: int
) -> None:
    """For there is a picture that shows 255 where they are, and nothing elsewhere."""
    filters = np.array(weights, np.int8)[:, :, np.newaxis, np.newaxis]
    assert worst_sums(graph(tmp_path, filters)) == {"weights": WorstSums(pair=pair, filter=whole)}


def test_a_matrix_may_be_used_either_way_round(tmp_path: Path) -> None:
    """The worse of its rows and columns counts."""
    assert worst_sums(graph(tmp_path, np.array([[100, 1], [100, 1]], np.int8)))["weights"].pair == 255 * 200


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (np.full((2, 2, 1, 1), 65, np.int8), "33150, .* holds 32767 in 16 bits"),
        (np.full((1, 140_000, 1, 1), 64, np.int8), "2284800000, .* holds 2147483647 in 32 bits"),
    ],
    ids=["a pair", "a filter"],
)
def test_a_graph_that_could_overflow_is_refused(tmp_path: Path, weights: np.ndarray, said: str) -> None:
    """The error names the file and the layer, and says what to do."""
    path = graph(tmp_path, weights)
    with pytest.raises(
        SumsOverflow, match=rf"judge\.int8\.onnx: the sums of weights reach {said}.*export the checkpoint anew"
    ):
        check_sums(path)


def test_weights_of_seven_bits_fit(tmp_path: Path) -> None:
    """Whatever they are."""
    weights = np.random.default_rng(0).integers(-64, 65, (8, 500, 3, 3)).astype(np.int8)
    check_sums(graph(tmp_path, weights))


@pytest.mark.parametrize("folder", ["edge/demo/bundle", "benchmarks/bundles/deeppcb"])
def test_what_is_shipped_fits(folder: str) -> None:
    """Each INT8 graph of the packed bundles has layers, and none of them can overflow."""
    bundle = read_model(ROOT / folder)
    graphs = [artifact.path for artifact in bundle.manifest.artifacts if artifact.precision == "int8"]
    assert graphs
    for path in graphs:
        assert len(worst_sums(bundle.folder / path)) > 5
        check_sums(bundle.folder / path)


def test_what_is_made_fits(anomaly_draft: Path, matcher_draft: Path) -> None:
    """`export` makes weights of 7 bits, and uses all of them."""
    for draft in (anomaly_draft, matcher_draft):
        (name,) = worst_sums(draft / "judge.int8.onnx")
        stored = onnx.load(draft / "judge.int8.onnx").graph.initializer
        (weights,) = (numpy_helper.to_array(tensor) for tensor in stored if tensor.name == name)
        assert np.abs(weights.astype(int)).max() == 64
