from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs scipy, which only building models uses")

from scipy import stats

from edge.judges.pvalue import p_value
from edge.manifest import Threshold, least_rejected
from trt_build.packing.calibrate import CalibrationError, conditional, conformal, extrapolated


def rejected(thresholds: np.ndarray) -> np.ndarray:
    """The part of standard exponential scores over each threshold."""
    return np.exp(-thresholds)


def draws(runs: int, n: int, seed: int = 0) -> np.ndarray:
    """So many calibrations of n exponential scores."""
    return np.random.default_rng(seed).exponential(size=(runs, n))


@pytest.mark.parametrize(("n", "rate"), [(19, 0.05), (59, 0.05), (99, 0.01), (130, 0.02)])
def test_a_conformal_threshold_keeps_its_rate_on_average(n: int, rate: float):
    """Over many calibrations good parts are rejected as often as asked, or a little less, and not far less."""
    rates = rejected(np.array([conformal(scores, rate=rate).threshold for scores in draws(4000, n)]))
    exact = math.floor((n + 1) * rate + 1e-9) / (n + 1)
    assert exact <= rate
    assert rates.mean() == pytest.approx(exact, rel=0.08)


@pytest.mark.parametrize(("n", "rate"), [(59, 0.05), (100, 0.05), (299, 0.01), (400, 0.02)])
def test_a_conditional_threshold_keeps_its_rate_nearly_always(n: int, rate: float):
    """In 95 of 100 plants, not just on average over all plants, no more good parts are rejected than asked."""
    thresholds = np.array([conditional(scores, rate=rate).threshold for scores in draws(2000, n)])
    kept = (rejected(thresholds) <= rate).mean()
    assert kept >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 2000)
    passed = np.where(draws(2000, n) < thresholds[:, None], draws(2000, n), 0)
    lower = np.sort(passed, axis=1)[:, -2]
    assert (rejected(lower) <= rate).mean() < 0.95  # the next lower score would not have kept it


@pytest.mark.parametrize(
    ("set_threshold", "rate", "needed"),
    [
        (conformal, 0.05, 19),
        (conformal, 0.01, 99),
        (conformal, 0.001, 999),
        (conditional, 0.05, 59),
        (conditional, 0.01, 299),
        (conditional, 0.005, 598),
        (conditional, 0.001, 2995),
        (conditional, 0.0001, 29956),
    ],
)
def test_the_number_of_parts_that_would_do_is_said(
    set_threshold: Callable[..., Threshold], rate: float, needed: int
):
    """One is told how many good parts to bring, and that many are enough, the highest score being the limit."""
    scores = np.random.default_rng(0).random(needed)
    assert set_threshold(scores, rate=rate).threshold == least_rejected(scores.max())
    with pytest.raises(CalibrationError, match=rf"{needed - 1} scores .*: {needed} would do; take more"):
        set_threshold(scores[1:], rate=rate)


def test_a_calibration_goes_through_a_file():
    """What was promised stays with the threshold."""
    for found in (conformal(np.arange(40.0), rate=0.05), extrapolated(draws(1, 700)[0], rate=1e-3)):
        assert msgspec.json.decode(msgspec.json.encode(found), type=Threshold) == found


def test_the_threshold_rejects_what_the_p_value_rejects():
    """Whether a line asks for the threshold or for a p-value of at most the rate, the verdict is the same."""
    rng = np.random.default_rng(2)
    for n in (19, 50, 137):
        scores = np.sort(rng.integers(0, 30, n)).astype(float)  # with ties
        new = np.arange(-1, 31, 0.5)
        threshold = conformal(scores, rate=0.05).threshold
        np.testing.assert_array_equal(new >= threshold, p_value(new, scores) <= 0.05)


def test_equal_scores_never_reject_more_than_was_asked():
    """A score that takes few values keeps the promise, with room to spare."""
    rng = np.random.default_rng(3)
    for set_threshold in (conformal, conditional):
        thresholds = [set_threshold(rng.integers(0, 40, 99), rate=0.05).threshold for _ in range(500)]
        rates = np.array([(np.arange(40) >= threshold).mean() for threshold in thresholds])
        assert rates.mean() <= 0.05


def test_the_promise_is_in_plain_words():
    """A report quotes the note as it is."""
    scores = np.arange(400.0)
    assert conformal(scores, rate=0.01).note == (
        "On average over calibrations at most 1 % of good parts are rejected."
    )
    assert conditional(scores, rate=0.01).note == "With 95 % confidence at most 1 % of good parts are rejected."
    assert "model, not a guarantee" in extrapolated(np.arange(700.0) ** 2, rate=0.001).note


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.25])
def test_an_extrapolated_threshold_is_near_the_true_one(shape: float):
    """1,000 scores of a known tail give the 1-in-2,000 score within some per cent, and an interval round it."""
    true = stats.genpareto.isf(5e-4, shape)
    runs = [
        extrapolated(stats.genpareto.rvs(shape, size=1000, random_state=seed), rate=5e-4) for seed in range(60)
    ]
    assert np.median([run.threshold for run in runs]) == pytest.approx(true, rel=0.1)
    assert np.mean([run.interval[0] <= true <= run.interval[1] for run in runs if run.interval]) >= 0.75
    assert all(run.interval[0] < run.threshold < run.interval[1] for run in runs if run.interval)


def test_a_tail_of_another_shape_shows_in_the_misfit():
    """A second heap far out, which no smooth tail has, is told apart from a tail that fits."""
    smooth = draws(1, 2000)[0]
    heaped = smooth.copy()
    heaped[:20] += 40
    fits, does_not = extrapolated(smooth, rate=1e-3).misfit, extrapolated(heaped, rate=1e-3).misfit
    assert fits is not None
    assert does_not is not None
    assert fits < 0.1 < 0.3 < does_not


def test_an_extrapolation_can_be_had_again():
    """The bootstrap is seeded: the same scores give the same interval."""
    scores = draws(1, 800)[0]
    assert extrapolated(scores, rate=1e-3) == extrapolated(scores[::-1], rate=1e-3)


@pytest.mark.parametrize(
    ("n", "asked", "says"),
    [
        (599, {"rate": 1e-3}, r"599 scores have 29 in their highest 5 %.*600 scores would do"),
        (700, {"rate": 0.05}, r"rate: expected less than the tail's 0\.05.*ask `conformal`"),
        (700, {"rate": 0.0}, r"rate: expected a share"),
        (700, {"rate": 1e-3, "tail": 1.0}, r"tail: expected a share"),
    ],
)
def test_no_tail_is_made_of_too_little(n: int, asked: dict[str, float], says: str):
    """Below thirty excesses, or where there is nothing to extrapolate, one is told what to do instead."""
    with pytest.raises(CalibrationError, match=says):
        extrapolated(draws(1, n)[0], **asked)


def test_equal_scores_have_no_tail():
    """A score that saturates cannot be extrapolated."""
    with pytest.raises(CalibrationError, match="all equal"):
        extrapolated(np.minimum(draws(1, 1000)[0], 0.5), rate=1e-3)


@pytest.mark.parametrize("scores", [[], [1.0, math.nan], [[1.0, 2.0]]], ids=["none", "not a number", "table"])
def test_scores_that_are_none_are_refused(scores: list[float]):
    """A threshold is not set with the answers of an engine that failed."""
    with pytest.raises(CalibrationError, match="expected finite numbers"):
        conformal(np.array(scores), rate=0.05)
