"""A threshold promises what it says, on the engine that will judge, or it is not set."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bundles import altered

from edge.bundle import Bundle, read_model
from edge.engines import open_engine
from edge.errors import BundleError
from edge.judges.decide import Judgement, Rule, decide
from edge.judges.golden import scores
from edge.manifest import Calibration
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer, part_cases
from trt_build.data.parts import read_parts, split_good
from trt_build.packing.calibrate import CalibrationError
from trt_build.packing.threshold import CalibrationOptions, set_threshold

AS_IS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
RATE = 0.2


def good_cases(draft: Path, folder: Path) -> list[Case]:
    """The good parts that are kept for calibrating."""
    kept = split_good(read_parts(folder).train).calibration
    return list(part_cases(kept, read_model(draft).manifest.input))


def answers(bundle: Bundle, cases: list[Case], precision: str = "auto") -> list[dict[str, np.ndarray]]:
    with open_engine(EngineChoice(precision=precision), bundle) as engine:
        return [answer(engine, bundle.manifest, case) for case in cases]


def rule_of(bundle: Bundle) -> Rule:
    """The rule by which a line would judge."""
    manifest = bundle.manifest
    assert manifest.calibration is not None
    return Rule(
        name="model",
        bundle=bundle.digest,
        thresholds=manifest.thresholds,
        stride=manifest.stride,
        region_from=manifest.region_from,
        calibration=np.array(manifest.calibration.scores),
    )


def known(bundle: Bundle) -> Calibration:
    assert bundle.manifest.calibration is not None
    return bundle.manifest.calibration


@pytest.fixture(scope="module")
def calibrated(calibrated_anomaly: Path) -> Bundle:
    return read_model(calibrated_anomaly)


@pytest.fixture(scope="module")
def judged(calibrated: Bundle, part_folder: Path) -> list[dict[str, np.ndarray]]:
    """What the engine answers to the parts that the threshold was set with."""
    return answers(calibrated, good_cases(calibrated.folder, part_folder))


def test_the_rate_is_kept_on_the_parts_that_set_it(calibrated: Bundle, judged: list) -> None:
    """Of n good parts as many are rejected as the promise allows and none more."""
    said = [decide(outputs, AS_IS, rule_of(calibrated)).verdict for outputs in judged]
    assert said.count("reject") == math.floor((len(judged) + 1) * RATE) - 1
    assert said.count("reject") / len(said) <= RATE


def test_a_part_at_the_threshold_is_rejected_and_one_under_it_passes(calibrated: Bundle, judged: list) -> None:
    """The threshold is the least score that is rejected; to the last bit it is the same on the line."""
    threshold = known(calibrated).threshold
    passed = np.nextafter(np.float32(threshold), np.float32(-np.inf))
    (under,) = (outputs for outputs in judged if outputs["score"][0] == passed)
    at = under | {"score": np.float32([threshold])}
    assert decide(under, AS_IS, rule_of(calibrated)).verdict == "pass"
    assert decide(at, AS_IS, rule_of(calibrated)).verdict == "reject"
    assert calibrated.manifest.thresholds["anomaly"] == threshold


def test_p_values_and_threshold_say_the_same(calibrated: Bundle, judged: list) -> None:
    """A part is rejected alone exactly where a fusion of this rate would reject it, ties included."""
    said: list[Judgement] = [decide(outputs, AS_IS, rule_of(calibrated)) for outputs in judged]
    assert any(one.verdict == "reject" for one in said)
    for one in said:
        assert one.p_value is not None
        assert (one.p_value <= RATE) == (one.verdict == "reject")


def test_the_scores_are_those_of_the_graph_that_judges(
    calibrated: Bundle, judged: list, part_folder: Path
) -> None:
    """Of INT8 where the line takes INT8, and the graph is named by its digest."""
    said = known(calibrated)
    assert said.engine == "openvino int8"
    assert said.artifact == hashlib.sha256((calibrated.folder / "judge.int8.onnx").read_bytes()).hexdigest()
    assert list(said.scores) == sorted(float(scores(outputs)[0]) for outputs in judged)
    exact = answers(calibrated, good_cases(calibrated.folder, part_folder), "fp32")
    assert list(said.scores) != sorted(float(scores(outputs)[0]) for outputs in exact)


def test_regions_are_shown_on_as_many_good_parts(calibrated: Bundle, judged: list) -> None:
    """A cell is shown from the value on that the same share of good parts has anywhere; a defect is shown."""
    shown = [bool(decide(outputs, AS_IS, rule_of(calibrated)).regions) for outputs in judged]
    assert sum(shown) == math.floor((len(judged) + 1) * RATE) - 1
    defect = judged[0] | {"map": judged[0]["map"].copy()}
    defect["map"][0, 0, 2:4, 3:5] += 0.35
    (region,) = decide(defect, AS_IS, rule_of(calibrated)).regions
    assert (region.x, region.y, region.w, region.h) == (12, 8, 8, 8)


def test_a_matcher_shows_no_regions(calibrated_matcher: Path) -> None:
    """There is no map to take a value of."""
    manifest = read_model(calibrated_matcher).manifest
    assert manifest.region_from is None
    assert manifest.thresholds["product"] == known(read_model(calibrated_matcher)).threshold


def test_what_else_the_draft_says_stays(anomaly_draft: Path, calibrated: Bundle) -> None:
    """Only the threshold and what belongs to it are written."""
    before, after = read_model(anomaly_draft).manifest, calibrated.manifest
    assert (after.artifacts, after.outputs, after.input) == (before.artifacts, before.outputs, before.input)
    assert after.metadata == before.metadata
    assert before.thresholds is None


def test_calibrating_again_replaces(
    calibrated: Bundle, copy: Callable[[Path], Path], part_folder: Path
) -> None:
    """Who changes the rate gets the threshold of the new one."""
    draft = copy(calibrated.folder)
    set_threshold(draft, good_cases(draft, part_folder), CalibrationOptions(rate=0.5))
    after = read_model(draft)
    assert known(after).rate == 0.5
    assert after.manifest.thresholds["anomaly"] < calibrated.manifest.thresholds["anomaly"]


def test_too_few_good_parts_leave_the_draft_as_it_was(
    anomaly_draft: Path, copy: Callable[[Path], Path], part_folder: Path
) -> None:
    """A promise that cannot be kept is not made, and the error says how many parts would do."""
    draft = copy(anomaly_draft)
    before = (draft / "manifest.json").read_bytes()
    with pytest.raises(CalibrationError, match=r"scores of good parts .* 999 would do; take more good parts"):
        set_threshold(draft, good_cases(draft, part_folder), CalibrationOptions(rate=0.001))
    with pytest.raises(CalibrationError, match="expected finite numbers"):
        set_threshold(draft, [], CalibrationOptions())
    assert (draft / "manifest.json").read_bytes() == before


def test_a_bundle_is_not_calibrated(score_bundle: Path, tmp_path: Path, part_folder: Path) -> None:
    """Its digest, which verdicts name, would no longer be that of what judges."""
    bundle = altered(score_bundle, tmp_path / "bundle")
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match="is packed, and a bundle never changes"):
        set_threshold(bundle, good_cases(bundle, part_folder), CalibrationOptions())
    assert (bundle / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("how", "rate", "over"), [("conformal", 0.1, 0.1), ("conditional", 0.1, 0.08), ("extrapolated", 0.01, 0.01)]
)
def test_each_promise_is_made_as_asked(how: str, rate: float, over: float) -> None:
    """By its own method, at its rate; what is kept with confidence rejects less than what is on average."""
    good = np.random.default_rng(0).exponential(size=1000)
    said = CalibrationOptions(rate=rate, how=how, confidence=0.99).threshold(good)  # type: ignore[arg-type]
    assert (said.method, said.rate, said.n) == (how, rate, 1000)
    assert said.confidence == (None if how == "conformal" else 0.99)
    assert (good >= said.threshold).mean() == pytest.approx(over, abs=0.01)
