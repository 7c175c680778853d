"""A bundle carries FP32 at half its size, and what it computes stays the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drafts import write_wide_draft

from edge.bundle import read_model
from edge.engines.base import Outputs
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, judge_all
from trt_build.graphs.int8 import add_int8
from trt_build.graphs.small_weights import round_weights, store_weights
from trt_build.methods.stpm.method import METHOD as parts


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    """FP32 alone; see `drafts.write_wide_draft`."""
    return write_wide_draft(tmp_path / "draft")


@pytest.fixture
def cases(draft: Path, part_folder: Path) -> list[Case]:
    return list(parts.held_out(part_folder, read_model(draft).manifest.input))


def judged(draft: Path, cases: list[Case], kind: str, precision: str = "fp32") -> list[Outputs]:
    return judge_all(read_model(draft), EngineChoice(kind=kind, precision=precision), cases)


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
def test_stored_weights_compute_the_same(draft: Path, cases: list[Case], kind: str) -> None:
    """To the last bit, on either engine, once the weights were rounded."""
    round_weights(draft)
    before = judged(draft, cases, kind)
    store_weights(draft)
    for one, other in zip(before, judged(draft, cases, kind), strict=True):
        assert np.array_equal(one["map"], other["map"])


def test_the_graph_is_half_as_large(draft: Path) -> None:
    """And the manifest knows the new file."""
    before = (draft / "judge.fp32.onnx").stat().st_size
    round_weights(draft)
    store_weights(draft)
    (artifact,) = read_model(draft).manifest.artifacts
    assert artifact.bytes < 0.6 * before


def test_weights_that_were_not_rounded_are_left_as_they_are(draft: Path, cases: list[Case]) -> None:
    """Nothing is lost without a word."""
    before = (draft / "judge.fp32.onnx").read_bytes()
    store_weights(draft)
    said = judged(draft, cases, "onnxruntime")
    (draft / "judge.fp32.onnx").write_bytes(before)
    for one, other in zip(judged_of_bytes(draft, cases), said, strict=True):
        assert np.array_equal(one["map"], other["map"])


def judged_of_bytes(draft: Path, cases: list[Case]) -> list[Outputs]:
    """As `judged`, of a graph that the manifest may not know."""
    from drafts import describe_again

    describe_again(draft)
    return judged(draft, cases, "onnxruntime")


def test_int8_is_made_of_the_rounded_weights(
    draft: Path, cases: list[Case], part_folder: Path, copy: Callable[[Path], Path]
) -> None:
    """What FP32 holds against INT8 is INT8's own rounding alone."""
    round_weights(draft)
    add_int8(draft, cases)
    store_weights(draft)
    assert read_model(draft).manifest.precisions() == ["fp32", "int8"]
    fp32, int8 = (judged(draft, cases, "openvino", precision) for precision in ("fp32", "int8"))
    apart = max(float(np.abs(a["map"] - b["map"]).max()) for a, b in zip(fp32, int8, strict=True))
    assert 0 < apart < 0.02
