"""The test for drift: how often it is wrong while nothing changes, and how soon it sees a change."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.alarms.drift import Bets, Drift
from edge.judges.pvalue import p_value

SCORES = 100


def most_capital(
    rng: np.random.Generator, parts: NDArray[np.float64], drift: Drift | None = None, rejected_from: float = 9.0
) -> NDArray[np.float64]:
    """The highest capital so far after each of these scores; the calibration's are standard normal."""
    calibration = np.sort(rng.standard_normal(SCORES))
    drift, found = drift or Drift(SCORES), [0.0]
    for p, score in zip(p_value(parts, calibration), parts, strict=True):
        if score < rejected_from:
            # As a verdict has it.
            drift.note(float(f"{p:.4g}"), rng.random())
        found.append(max(found[-1], drift.capital))
    return np.array(found[1:])


@pytest.mark.parametrize("rejected_from", [9.0, 1.6])
def test_the_promised_rate_of_false_alarms_holds(rejected_from: float) -> None:
    """At most the promised share of lines that do not change ever alarms, also if the worst are rejected."""
    rng = np.random.default_rng(7)
    runs = [most_capital(rng, rng.standard_normal(600), rejected_from=rejected_from)[-1] for _ in range(150)]
    for promised in (0.5, 0.2, 0.05):
        assert np.mean(np.array(runs) >= 1 / promised) <= promised


@pytest.mark.parametrize(("before", "by", "within"), [(0, 1.0, 120), (2000, 1.0, 120), (2000, 2.0, 40)])
def test_a_rise_of_scores_is_seen(before: int, by: float, within: int) -> None:
    """A worn lamp that lifts the scores of good parts is seen soon, however long all was well before."""
    rng = np.random.default_rng(3)
    drift = Drift(SCORES)
    well = most_capital(np.random.default_rng(5), rng.standard_normal(before), drift)
    found = most_capital(np.random.default_rng(5), by + rng.standard_normal(within), drift)
    assert before == 0 or well[-1] < 1e4
    assert found[-1] >= 1e4


def test_falling_scores_are_no_drift() -> None:
    """Parts that look better than before raise no alarm."""
    rng = np.random.default_rng(3)
    assert most_capital(rng, rng.standard_normal(2000) - 2.0)[-1] < 10


def test_what_has_been_learnt_anew_is_normal() -> None:
    """After a person says that scores are right like this, they are compared with each other alone."""
    rng = np.random.default_rng(3)
    drift = Drift(SCORES)
    assert most_capital(np.random.default_rng(5), 2 + rng.standard_normal(100), drift)[-1] >= 1e4
    drift.restart(learn=True)
    assert most_capital(np.random.default_rng(5), 2 + rng.standard_normal(300), drift)[-1] < 100
    assert most_capital(np.random.default_rng(5), 4 + rng.standard_normal(200), drift)[-1] >= 1e4


def test_a_restart_of_the_line_loses_no_evidence() -> None:
    """Slow drift adds up over days, so the capital goes on from where it was."""
    rng = np.random.default_rng(3)
    drift, scores = Drift(SCORES), 1 + rng.standard_normal(100)
    most_capital(np.random.default_rng(5), scores[:50], drift)
    kept = msgspec.json.decode(msgspec.json.encode(drift.bets), type=Bets)
    again = Drift(SCORES, kept)
    for one in (drift, again):
        most_capital(np.random.default_rng(5), scores[50:], one)
    assert again.capital == drift.capital
    assert again.capital > 100


def test_bets_on_another_calibration_are_not_continued() -> None:
    """A new bundle begins anew."""
    assert Drift(SCORES, Drift(SCORES + 1).bets).bets == Drift(SCORES).bets
