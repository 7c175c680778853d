"""Golden frames are clear cases on which all engines agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.bundle import read_model, write_manifest
from edge.engines import open_engine
from edge.errors import BundleError
from edge.judges.golden import decisions, scores
from edge.manifest import InputSpec
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer, judge_all, pair_cases
from trt_build.data.pairs import Pair
from trt_build.methods.matcher.method import METHOD as products
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.pack import pack

SPEC = InputSpec(height=64, width=64)


def test_golden_frames_are_no_near_things(packed: Path) -> None:
    """Another CPU's rounding does not flip them."""
    bundle = read_model(packed)
    limits = np.array(list(bundle.manifest.thresholds.values()))
    assert len(bundle.golden()) == 4
    for case in bundle.golden():
        found = scores(case.expected)
        assert ((found > limits + 0.099) | (found < limits / 2)).all()


@pytest.mark.parametrize("model", ["packed_anomaly", "packed_matcher"])
def test_golden_cases_of_a_score_are_clear_and_of_both_sorts(
    request: pytest.FixtureRequest, model: str
) -> None:
    """Each lies well to one side of the threshold, and each side has one."""
    bundle = read_model(request.getfixturevalue(model))
    (limit,) = bundle.manifest.thresholds.values()
    found = [float(case.expected["score"][0]) for case in bundle.golden()]
    margin = (limit - min(found)) / 10
    assert len(found) == 4
    assert all(abs(score - limit) > margin for score in found)
    assert {bool(decisions(case.expected, bundle.manifest)[0]) for case in bundle.golden()} == {True, False}


@pytest.mark.parametrize("first", ["good", "bad"])
def test_both_sorts_are_found_wherever_they_come(
    calibrated_anomaly: Path, part_folder: Path, tmp_path: Path, first: str
) -> None:
    """Six rejected pictures before the only good one do not keep it out, nor the other way round."""
    source = read_model(calibrated_anomaly)
    tested, _ = parts.labelled(part_folder, source)
    (limit,) = source.manifest.thresholds.values()
    with open_engine(EngineChoice(precision="fp32"), source) as engine:
        scored = sorted(tested, key=lambda case: float(answer(engine, source.manifest, case)["score"][0]))
        is_bad = [bool(answer(engine, source.manifest, case)["score"][0] >= limit) for case in scored]
    good, bad = scored[: is_bad.index(True)], scored[is_bad.index(True) :]
    many, few = (good[:6], bad[-1:]) if first == "good" else (bad[-6:], good[:1])
    bundle = pack(calibrated_anomaly, tmp_path / "bundle", cases=[*many, *few])
    assert few[0].name in {Path(case.frame.path).stem for case in bundle.manifest.golden}


def test_one_sort_alone_makes_golden_cases(calibrated_anomaly: Path, part_folder: Path, tmp_path: Path) -> None:
    """A plant without a single defective part can pack a bundle."""
    spec = read_model(calibrated_anomaly).manifest.input
    good = [case for case in parts.held_out(part_folder, spec) if case.name.startswith("good")]
    bundle = pack(calibrated_anomaly, tmp_path / "bundle", cases=good)
    assert len(bundle.manifest.golden) == 4


def test_pictures_on_which_engines_differ_are_no_golden_cases(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """Where the threshold lies between FP32 and INT8, a sound engine could not be told from another."""
    draft = copy(calibrated_anomaly)
    source = read_model(draft)
    kept = list(parts.held_out(part_folder, source.manifest.input))
    exact, rounded = (
        [float(scores(said)[0]) for said in judge_all(source, EngineChoice(precision=precision), kept)]
        for precision in ("fp32", "int8")
    )
    apart = [abs(one - other) for one, other in zip(exact, rounded, strict=True)]
    widest = apart.index(max(apart))
    between = (exact[widest] + rounded[widest]) / 2
    write_manifest(draft, msgspec.structs.replace(source.manifest, thresholds={"anomaly": between}))
    bundle = pack(draft, tmp_path / "bundle", cases=kept)
    assert kept[widest].name not in {Path(case.frame.path).stem for case in bundle.manifest.golden}


def test_a_matchers_golden_case_has_its_drawing(packed_matcher: Path, product_folder: Path) -> None:
    """The first is of another product, and what it is compared with is packed as the engine was given it."""
    bundle = read_model(packed_matcher)
    given = {case.name: case.master for case in products.held_out(product_folder, bundle.manifest.input)}
    assert bundle.manifest.golden[0].frame.path.endswith("-other.png")
    for case in bundle.golden():
        assert np.array_equal(case.master, given[Path(case.name).stem])


def test_golden_pictures_keep_their_colours(packed_anomaly: Path, part_folder: Path) -> None:
    """What is read from the bundle is what the engine was given."""
    bundle = read_model(packed_anomaly)
    given = {case.name: case.image for case in parts.held_out(part_folder, bundle.manifest.input)}
    for case in bundle.golden():
        assert np.array_equal(case.image, given[Path(case.name).stem])


def test_golden_cases_take_little_room(packed: Path) -> None:
    """Stored outputs are packed, not as large as in memory."""
    case = read_model(packed).manifest.golden[0]
    assert case.expected.bytes < 10 * 16 * 16 * 4 / 2


def test_golden_frames_may_come_from_elsewhere(
    calibrated_pcb: Path, pairs: list[Pair], cases: list[Case], tmp_path: Path
) -> None:
    """Pictures that may not be passed on stay out of the bundle."""
    bundle = pack(calibrated_pcb, tmp_path / "bundle", cases=cases, golden=pair_cases(pairs[50:52], SPEC))
    assert [case.frame.path for case in bundle.manifest.golden] == ["golden/50.png", "golden/51.png"]


def test_pairs_that_are_all_near_things_are_refused(
    calibrated_pcb: Path, cases: list[Case], tmp_path: Path
) -> None:
    """The error says what a golden frame needs."""
    with pytest.raises(BundleError, match="none of 2 pictures is judged clearly"):
        pack(calibrated_pcb, tmp_path / "bundle", cases=cases[:2])
    assert not (tmp_path / "bundle").exists()
