"""INT8 is what the pictures shown to it need, and nothing but convolutions is rounded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from drafts import SIZE
from onnx import numpy_helper

from edge.bundle import read_model
from edge.engines import open_engine
from edge.engines.base import Sample
from edge.judges.golden import differences
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer
from trt_build.graphs.int8 import add_int8


def levels(draft: Path, name: str) -> float:
    """The highest value that INT8 keeps of what goes into a node of this output."""
    graph = onnx.load(draft / "judge.int8.onnx").graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (rounding,) = (node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == name)
    return 127 * float(constants[rounding.input[1]])


def grey(*of: int) -> list[Case]:
    """Evenly grey parts."""
    return [Case(name=str(level), image=np.full((1, 3, SIZE, SIZE), level, np.uint8)) for level in of]


def test_ranges_are_those_of_the_pictures_shown(anomaly_draft: Path, copy: Callable[[Path], Path]) -> None:
    """The brightest of them sets the step, whichever place it comes at."""
    draft = copy(anomaly_draft)
    for shown in ((51, 102), (204, 20)):
        add_int8(draft, grey(*shown))
        assert levels(draft, "apart") == pytest.approx(max(shown) / 255, rel=1e-3)


def test_only_what_convolutions_mix_is_rounded(anomaly_draft: Path) -> None:
    """What reads the picture or each channel by itself stays in float, and means and scores do.

    The rest is symmetric and signed, as TensorRT asks.
    """
    graph = onnx.load(anomaly_draft / "judge.int8.onnx").graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made_by: dict[str, Any] = {name: node for node in graph.node for name in node.output}
    rounding = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    first, depthwise, conv = (node for node in graph.node if node.op_type == "Conv")
    assert [node.input[0] for node in rounding] == [depthwise.output[0]]
    assert not {first.input[1], depthwise.input[1]} & made_by.keys()
    assert all(made_by[name].op_type == "DequantizeLinear" for name in conv.input[:2])
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert constants[node.input[2]].dtype == np.int8
            assert not constants[node.input[2]].any()


@pytest.mark.parametrize(("kind", "asked"), [("openvino", "auto"), ("onnxruntime", "int8")])
def test_the_line_runs_it_and_it_stays_close(anomaly_draft: Path, kind: str, asked: str) -> None:
    """By `auto` INT8 is taken where it is faster, and a part's map moves by less than a step."""
    bundle = read_model(anomaly_draft)
    (part,) = grey(180)
    said = []
    for precision in ("fp32", asked):
        with open_engine(EngineChoice(kind=kind, precision=precision), bundle) as engine:
            said.append(answer(engine, bundle.manifest, part))
            last = engine.precision
    assert last == "int8"
    assert 0 < differences(said[1], said[0], bundle.manifest)["map"] < 1 / 127


def test_the_draft_says_what_it_now_has(anomaly_draft: Path, copy: Callable[[Path], Path]) -> None:
    """Both graphs with their digests, and how many pictures were shown; FP32 is as it was."""
    draft = copy(anomaly_draft)
    before = hashlib.sha256((draft / "judge.fp32.onnx").read_bytes()).hexdigest()
    add_int8(draft, grey(10, 200, 30))
    bundle = read_model(draft)
    assert bundle.manifest.precisions() == ["fp32", "int8"]
    assert bundle.digest_of_graph("judge", "fp32") == before
    assert bundle.manifest.metadata["calibration_pictures"] == 3


def test_a_matcher_is_rounded_like_any_other(matcher_draft: Path) -> None:
    """Its vectors keep their length, and hardly move."""
    bundle = read_model(matcher_draft)
    image = np.random.default_rng(0).integers(0, 256, (1, 1, SIZE, SIZE), np.uint8)
    said = []
    for precision in ("fp32", "int8"):
        with open_engine(EngineChoice(precision=precision), bundle) as engine:
            engine.submit(0, [Sample(image)])
            said.append(np.array(engine.collect(0)[0]["embedding"]))
    assert np.linalg.norm(said[1]) == pytest.approx(1, abs=1e-5)
    assert 0 < np.abs(said[1] - said[0]).max() < 0.05
