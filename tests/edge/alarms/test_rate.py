"""The alarm for too many rejects does not cry at small numbers, and sees a real rise."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from edge.alarms.rate import RISK, RejectRate, least_rejects


@pytest.mark.parametrize(("parts", "allowed"), [(1, 0.2), (7, 0.05), (13, 0.2), (50, 0.01), (200, 0.2)])
def test_the_limit_is_that_of_the_binomial_distribution(parts: int, allowed: float) -> None:
    """So many rejects are too improbable, and one less is not: counted in whole fractions."""

    def tail(rejects: int) -> Fraction:
        p = Fraction(allowed)
        return sum(
            (comb(parts, k) * p**k * (1 - p) ** (parts - k) for k in range(rejects, parts + 1)), Fraction(0)
        )

    least = least_rejects(parts, allowed)
    assert tail(least) <= RISK
    assert tail(least - 1) > RISK


@pytest.mark.parametrize("allowed", [0.05, 0.2, 0.5])
def test_a_few_bad_parts_are_no_alarm(allowed: float) -> None:
    """The first parts of a line may all be bad without an alarm, and one window has no chance to be wrong."""
    rate = RejectRate(allowed, 200)
    for _ in range(5):
        rate.note(True)
    assert rate.is_over is None


def test_the_allowed_rate_raises_no_alarm() -> None:
    """Two hundred thousand parts of which exactly the allowed share is rejected."""
    rate, rejected = RejectRate(0.2, 200), np.random.default_rng(1).random(200_000) < 0.2
    assert not any(_then_over(rate, one) for one in rejected.tolist())


def _then_over(rate: RejectRate, rejected: bool) -> bool | None:
    rate.note(rejected)
    return rate.is_over


def test_a_rise_is_seen_and_so_is_its_end() -> None:
    """Half of the parts instead of a fifth are seen within a hundred parts; the condition ends with them."""
    rate, rng = RejectRate(0.2, 200), np.random.default_rng(1)
    for one in (rng.random(500) < 0.2).tolist():
        rate.note(one)
    assert not rate.is_over
    assert any([_then_over(rate, one) for one in (rng.random(150) < 0.6).tolist()])
    for _ in range(200):
        rate.note(False)
    assert rate.is_over is False
    assert (rate.parts, rate.rejected) == (200, 0)
