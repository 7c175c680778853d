"""An engine that does not say what the FP32 model said is not let near the line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.bundle import Bundle, Golden, read_bundle
from edge.engines import open_engine
from edge.errors import EngineError
from edge.golden import check_golden, differences
from edge.manifest import Manifest
from edge.recipe import EngineChoice


def check(bundle: Bundle) -> None:
    with open_engine(EngineChoice(), bundle) as engine:
        check_golden(engine, bundle)


def changed(folder: Path, **fields: object) -> Bundle:
    """The bundle with other fields in its manifest."""
    bundle = read_bundle(folder)
    return replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, **fields))


def altered_case(folder: Path, tmp_path: Path, alter: Callable[[np.ndarray, np.ndarray], object]) -> Bundle:
    """The bundle with the second case's expected map and extents altered."""
    copy = Path(shutil.copytree(folder, tmp_path / "bundle"))
    bundle = read_bundle(copy)
    outputs = bundle.golden()[1].expected
    alter(outputs["map"], outputs["extents"])
    np.savez(copy / "golden/spotted.npz", **outputs)
    return bundle


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_sound_engine_reproduces_the_golden_cases(tiny_bundle: Path, precision: str) -> None:
    """Within the tolerance of its own precision."""
    bundle = read_bundle(tiny_bundle)
    with open_engine(EngineChoice(precision=precision), bundle) as engine:
        check_golden(engine, bundle)


def test_an_engine_that_answers_otherwise_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    """The error names the frame, the output, how far it lies off and how far it may."""

    def alter(heat: np.ndarray, _: np.ndarray) -> None:
        heat[0, 0, 2, 3] += 0.02

    said = r"golden frame golden/spotted.png on openvino int8: map lies 0.02.* more than 0.01"
    with pytest.raises(EngineError, match=said):
        check(altered_case(tiny_bundle, tmp_path, alter))


def test_extents_count_where_something_was_found(tiny_bundle: Path, tmp_path: Path) -> None:
    """A box that is off is noticed."""

    def alter(heat: np.ndarray, extents: np.ndarray) -> None:
        extents[:, :, heat[0, 0] > 0.5] += 1

    with pytest.raises(EngineError, match="extents lies 1 from the expected"):
        check(altered_case(tiny_bundle, tmp_path, alter))


def test_extents_of_nothing_do_not_count(tiny_bundle: Path, tmp_path: Path) -> None:
    """A network may say anything of boxes that nobody reads."""

    def alter(heat: np.ndarray, extents: np.ndarray) -> None:
        extents[:, :, heat[0].max(0) < 0.5] += 99

    check(altered_case(tiny_bundle, tmp_path, alter))


def test_a_decision_may_not_flip_however_small_the_difference(tiny_bundle: Path) -> None:
    """INT8 that moves a score across the threshold is refused even within its tolerance."""
    score = float(read_bundle(tiny_bundle).golden()[1].expected["map"][0, 0].max())
    with open_engine(EngineChoice(precision="int8"), read_bundle(tiny_bundle)) as engine:
        case = read_bundle(tiny_bundle).golden()[1]
        engine.submit(0, case.image, engine.reference(case.master))
        int8 = float(engine.collect(0)["map"][0, 0].max())
    assert int8 != score
    between = changed(tiny_bundle, thresholds={"spot": (score + int8) / 2, "shade": 0.5})
    with pytest.raises(
        EngineError, match=r"expected a score of 0\.549.* for 'spot', found .* crosses the threshold"
    ):
        check(between)


def test_a_bundle_without_golden_cases_is_refused(tiny_bundle: Path) -> None:
    """Nothing would show that the engine judges rightly."""
    with pytest.raises(EngineError, match="no golden cases"):
        check(changed(tiny_bundle, golden=()))


def test_a_constant_needs_no_golden_cases(constant_bundle: Callable[..., Path]) -> None:
    """Tests of the line run with it as it is."""
    bundle = read_bundle(constant_bundle())
    check(bundle)
    assert bundle.golden() == []


def test_an_engine_that_answers_nan_is_refused(tiny_bundle: Path, constant_bundle: Callable[..., Path]) -> None:
    """NaN compares as no difference and no defect; it must not pass for agreement."""
    golden = read_bundle(tiny_bundle).golden()
    bundle = read_bundle(constant_bundle(fault="nan"))

    class WithCases(Bundle):
        def golden(self) -> list[Golden]:
            return golden

    with (
        open_engine(EngineChoice(), bundle) as engine,
        pytest.raises(EngineError, match="not a number everywhere"),
    ):
        check_golden(engine, WithCases(folder=bundle.folder, manifest=bundle.manifest, digest=""))


def test_differences_are_named_by_output(tiny_bundle: Path) -> None:
    """Each output has its own figure, and so has the score."""
    manifest: Manifest = read_bundle(tiny_bundle).manifest
    outputs = read_bundle(tiny_bundle).golden()[1].expected
    other = {"map": outputs["map"] * 0.5, "extents": outputs["extents"]}
    apart = differences(other, outputs, manifest)
    assert list(apart) == ["map", "extents", "score"]
    assert apart["score"] == pytest.approx(0.2745, abs=1e-3)
    assert apart["extents"] == 0
