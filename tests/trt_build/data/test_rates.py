"""How many good parts a rate needs, as the promises' own formulas have it."""

from __future__ import annotations

import pytest

from trt_build.data.rates import parts_for, rate_of, scores_for

stats = pytest.importorskip("scipy.stats", reason="needs scipy, which only building models uses")


@pytest.mark.parametrize("rate", [0.25, 0.05, 0.01, 0.001])
@pytest.mark.parametrize("confidence", [None, 0.9, 0.95])
def test_so_many_scores_keep_the_rate_and_one_fewer_does_not(rate: float, confidence: float | None) -> None:
    """The least number is the least, and the rate of a number is the lowest."""
    least = scores_for(rate, confidence)
    assert rate_of(least, confidence) <= rate * (1 + 1e-9) < rate_of(least - 1, confidence)


def test_no_score_promises_nothing() -> None:
    """A threshold that was never measured may reject every part."""
    assert rate_of(0) == rate_of(0, 0.95) == 1


@pytest.mark.parametrize("scores", [4, 19, 59, 99, 999, 2995])
def test_so_many_parts_nearly_always_leave_enough_for_the_threshold(scores: int) -> None:
    """With about 99 % probability, and with a seventh fewer it is not so sure."""
    count = parts_for(scores, 0.2)
    assert stats.binom.sf(scores - 1, count, 0.2) > 0.988
    assert stats.binom.sf(scores - 1, int(0.85 * count), 0.2) < 0.988
