from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from edge.judges.pvalue import combine, p_value


def test_a_p_value_counts_the_good_parts_that_score_as_high():
    """Of four good parts two score 3 or more: with the part itself that is three of five."""
    calibration = np.array([1, 2, 3, 7], np.float32)
    assert p_value(3.0, calibration) == pytest.approx(3 / 5)
    np.testing.assert_allclose(p_value([[0, 3.5], [7, 8]], calibration), [[1, 2 / 5], [2 / 5, 1 / 5]])


def test_a_score_that_is_not_a_number_is_rarer_than_any():
    """Nothing that goes wrong becomes a pass."""
    assert p_value(np.nan, np.arange(99.0)) == p_value(1e9, np.arange(99.0)) == 0.01


def test_p_values_of_good_parts_are_spread_evenly():
    """No more than r of good parts have a p-value of at most r, for any r: what the whole method rests on."""
    rng = np.random.default_rng(0)
    p = np.concatenate([p_value(rng.normal(size=20), np.sort(rng.normal(size=49))) for _ in range(500)])
    for rate in (0.02, 0.1, 0.5):
        assert (p <= rate).mean() == pytest.approx(rate, rel=0.15)


def test_bonferroni_is_the_least_times_their_number():
    """One strong sign among three is not drowned, and nothing exceeds one."""
    assert combine([0.01, 0.5, 0.9], "bonferroni") == pytest.approx(0.03)
    assert combine([0.6, 0.7], "bonferroni") == 1
    assert combine([0.2], "bonferroni") == 0.2


@pytest.mark.parametrize(
    ("count", "critical"), [(1, 5.991), (2, 9.488), (3, 12.592), (10, 31.410), (50, 124.342), (500, 1074.679)]
)
def test_fisher_is_the_tail_of_a_chi_square(count: int, critical: float):
    """A sum of logarithms at the 5 % point of the tables gives 5 %, for hundreds of p-values too."""
    ps = np.full(count, np.exp(-critical / (2 * count)))
    assert combine(ps, "fisher") == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(
    ("ps", "expected"),
    [
        ([0.3], 0.3),
        ([0.04, 0.05], 0.002 * (1 - np.log(0.002))),  # the chance that a product of two is so small
        ([1.0, 1.0], 1.0),
        ([1e-200, 1e-300], 0.0),
    ],
    ids=["one", "two", "nothing odd", "next to impossible"],
)
def test_fisher_of_a_few(ps: list[float], expected: float):
    """Worked out by hand."""
    assert combine(ps, "fisher") == pytest.approx(expected, rel=1e-12)


def test_fisher_adds_up_weak_signs_that_bonferroni_misses():
    """Four pictures that are each a little odd make an odd part, if they are independent."""
    weak = [0.06, 0.05, 0.07, 0.06]
    assert combine(weak, "fisher") < 0.01 < 0.19 < combine(weak, "bonferroni")


def test_good_parts_are_rejected_as_often_as_said():
    """Bonferroni holds for pictures that rise and fall together too, Fisher for independent ones only."""
    rng = np.random.default_rng(2)
    alone = rng.random((4000, 3))
    together = np.repeat(rng.random((4000, 1)), 3, axis=1)
    rates = {
        (how, name): np.mean([combine(p, how) <= 0.05 for p in ps])
        for how in ("bonferroni", "fisher")
        for name, ps in (("alone", alone), ("together", together))
    }
    assert rates["fisher", "alone"] == pytest.approx(0.05, rel=0.25)
    assert rates["fisher", "together"] > 0.08
    assert max(rates["bonferroni", "alone"], rates["bonferroni", "together"]) <= 0.06


def test_an_impossible_part_is_impossible():
    """A p-value of 0 stays 0 in either way."""
    assert combine([0.0, 1.0], "fisher") == combine([0.0, 1.0], "bonferroni") == 0


@pytest.mark.parametrize("ps", [[], [0.5, np.nan], [-0.1], [1.1], [[0.5]]], ids=repr)
def test_what_is_no_p_value_is_refused(ps: list[float]):
    """A nonsense value does not become a verdict."""
    with pytest.raises(ValueError, match=r"p-values: expected at least one, each in 0\.\.1"):
        combine(ps, "fisher")


def test_p_values_are_had_without_what_only_building_needs():
    """A line computes them without scipy and torch."""
    script = "import sys, edge.judges.pvalue; print(*{'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
