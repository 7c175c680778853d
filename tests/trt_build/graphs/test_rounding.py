"""The few convolutions that INT8 spoils stay in FP32, and no more of them than that takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trt_build.graphs import rounding
from trt_build.graphs.rounding import HARM, chosen, harmful

SIZE, CHANNELS = 24, 16
WORK = {"a": 100, "b": 100, "c": 1000, "d": 1000, "e": 10_000}


def test_the_most_harmful_for_their_work_are_left_out() -> None:
    """A cheap one goes before a dear one that does as much harm."""
    harms = {"a": 3 * HARM, "b": 0.0, "c": 4 * HARM, "d": 0.2 * HARM, "e": 0.7 * HARM}
    assert chosen(harms, WORK) == ["a", "c"]


def test_where_little_is_spoilt_all_are_rounded() -> None:
    """Small harms together may come up to the limit."""
    assert chosen(dict.fromkeys(WORK, HARM / 5), WORK) == []
    assert chosen(dict.fromkeys(WORK, HARM / 4), WORK) == ["a"]


def test_no_more_work_is_left_out_than_may_be() -> None:
    """Most of the network stays INT8, whatever it costs; the check against FP32 says so."""
    assert chosen(dict.fromkeys(WORK, 1.0), WORK) == ["a", "b", "c"]
    assert chosen({"e": 1.0}, WORK) == []


def graph(path: Path, outlier: float) -> list[dict[str, Any]]:
    """Three convolutions one behind the other; what goes into the second has one value that is far larger."""
    rng = np.random.default_rng(0)

    def weights(name: str, before: int, after: int) -> onnx.TensorProto:
        values = rng.normal(0, 0.3, (after, before, 1, 1)).astype(np.float32)
        return numpy_helper.from_array(values, f"{name}/w")

    spike = np.zeros((1, CHANNELS, SIZE, SIZE), np.float32)
    spike[0, 0, 0, 0] = outlier
    nodes = [
        helper.make_node("Conv", ["x", "first/w"], ["a"], name="first"),
        helper.make_node("Add", ["a", "spike"], ["b"]),
        helper.make_node("Conv", ["b", "second/w"], ["c"], name="second"),
        helper.make_node("Clip", ["c", "low", "high"], ["d"]),
        helper.make_node("Conv", ["d", "third/w"], ["y"], name="third"),
    ]
    constants = [
        *(weights(name, CHANNELS, CHANNELS) for name in ("first", "second", "third")),
        numpy_helper.from_array(spike, "spike"),
        numpy_helper.from_array(np.float32(-6), "low"),
        numpy_helper.from_array(np.float32(6), "high"),
    ]
    shape = (1, CHANNELS, SIZE, SIZE)
    put, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    model = helper.make_model(
        helper.make_graph(nodes, "three", [put], [out], constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return [{"x": rng.normal(0, 1, shape).astype(np.float32)} for _ in range(3)]


@pytest.mark.parametrize(("outlier", "left"), [(0.0, []), (400.0, ["second"])])
def test_a_convolution_whose_input_has_an_outlier_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outlier: float, left: list[str]
) -> None:
    """127 steps that reach up to one huge value leave next to none for all others."""
    monkeypatch.setattr(rounding, "SHARE", 0.5)
    shown = graph(tmp_path / "three.onnx", outlier)
    assert harmful(tmp_path / "three.onnx", shown, known=()) == left
    assert harmful(tmp_path / "three.onnx", shown, known=("second",)) == []


def test_an_output_that_is_the_same_everywhere_is_no_harm(tmp_path: Path) -> None:
    """Pictures of nothing tell nothing."""
    graph(tmp_path / "three.onnx", 0.0)
    blank: NDArray[np.float32] = np.zeros((1, CHANNELS, SIZE, SIZE), np.float32)
    assert harmful(tmp_path / "three.onnx", [{"x": blank}], known=()) == []
