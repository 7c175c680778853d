"""An engine that judges otherwise than the FP32 reference is told apart from one that does not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import onnx
import pytest
from onnx import numpy_helper

from edge.bundle import Bundle, read_bundle
from edge.errors import EngineError
from edge.recipe import EngineChoice
from trt_build.dataset import Pair, read_pairs
from trt_build.verify import verify

INT8 = EngineChoice(kind="openvino", precision="int8")


@pytest.fixture(scope="module")
def pairs(pcb_pairs: Path) -> list[Pair]:
    """Boards whose score is well under or well over even odds."""
    return [pair for pair in read_pairs(pcb_pairs) if abs(int(pair.name) - 50) > 6]


def coarser(folder: Path, tmp_path: Path, step: float) -> Bundle:
    """The bundle with an INT8 graph whose quantisation step is `step`; its golden cases put up with it."""
    copy = Path(shutil.copytree(folder, tmp_path / "coarse"))
    model = onnx.load(copy / "judge.int8.onnx")
    for constant in model.graph.initializer:
        if constant.name == "step":
            constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) * 0 + step, "step"))
    bundle = read_bundle(copy)
    onnx.save(model, copy / "judge.int8.onnx")
    tolerances = bundle.manifest.tolerances | {"int8": dict.fromkeys(("map", "extents", "score"), 1.0)}
    return replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, tolerances=tolerances))


def test_a_sound_engine_is_passed_with_its_figures(pcb_bundle: Path, pairs: list[Pair]) -> None:
    """Differences within a step, no board decided otherwise, no precision lost."""
    found = verify(read_bundle(pcb_bundle), INT8, pairs)
    assert found is not None
    assert (found.engine, found.boards, found.flipped) == ("openvino int8", len(pairs), [])
    assert 0 < found.differences["map"] < 1 / 127
    assert found.ap == pytest.approx(found.ap_reference)


def test_golden_cases_alone_are_enough(pcb_bundle: Path) -> None:
    """A bundle can be verified where there are no labelled pictures."""
    assert verify(read_bundle(pcb_bundle), INT8, []) is None


def test_a_bundle_without_fp32_has_its_golden_cases_only(pcb_bundle: Path, pairs: list[Pair]) -> None:
    """What the labelled boards would be held against is not there, and the error says so."""
    bundle = read_bundle(pcb_bundle)
    int8 = tuple(a for a in bundle.manifest.artifacts if (a.role, a.precision) != ("judge", "fp32"))
    small = replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, artifacts=int8))
    assert verify(small, INT8, []) is None
    with pytest.raises(EngineError, match=r"engine\.precision 'fp32': bundle pcb comes in int8"):
        verify(small, INT8, pairs)


def test_a_golden_case_that_is_not_reproduced_fails(tiny_bundle: Path) -> None:
    """Whatever the labelled boards say."""
    bundle = read_bundle(tiny_bundle)
    strict = bundle.manifest.tolerances | {"int8": dict.fromkeys(("map", "extents", "score"), 0.0)}
    with pytest.raises(EngineError, match="golden frame golden/clean"):
        verify(replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, tolerances=strict)), INT8, [])


def test_decisions_that_flip_fail(pcb_bundle: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    """Steps of 0.28 lift a score of 0.45 over 0.5; the boards are named."""
    with pytest.raises(EngineError, match=r"decides otherwise on \d+ of 47 boards \(\d\d"):
        verify(coarser(pcb_bundle, tmp_path, 0.28), INT8, pairs)


def test_precision_that_is_lost_fails(pcb_bundle: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    """An engine that sees only the strongest defects escapes the others, and is refused."""
    with pytest.raises(EngineError, match=r"openvino int8 loses \d+\.\d+ points of AP, more than 1"):
        verify(coarser(pcb_bundle, tmp_path, 0.8), INT8, pairs)
