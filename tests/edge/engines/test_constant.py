"""The engine that computes nothing answers as its bundle says, and never stands in for a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Golden, read_bundle
from edge.engines import open_engine
from edge.engines.base import Sample
from edge.errors import EngineError
from edge.recipe import EngineChoice


def test_a_constant_never_stands_in_for_a_model(tiny_bundle: Path) -> None:
    """A recipe that was left on the test engine does not pass every part."""
    with pytest.raises(EngineError, match="engine 'constant' cannot run a bundle of method 'comparator'"):
        open_engine(EngineChoice(kind="constant"), read_bundle(tiny_bundle))


def test_a_constant_scores_as_it_was_told(constant_bundle: Callable[..., Path], cases: list[Golden]) -> None:
    """One cell of the first kind, everything else is clean."""
    with open_engine(EngineChoice(), read_bundle(constant_bundle(score=0.7))) as engine:
        engine.submit(0, [Sample(cases[0].image)])
        heat = engine.collect(0)[0]["map"]
    assert heat[0, 0, 8, 8] == np.float32(0.7)
    assert np.count_nonzero(heat) == 1


def test_a_constant_fails_on_the_parts_it_was_told(
    constant_bundle: Callable[..., Path], cases: list[Golden]
) -> None:
    """Each second part fails, its neighbours do not."""
    with open_engine(EngineChoice(), read_bundle(constant_bundle(fault="out of memory", every=2))) as engine:
        for failing in (False, True, False, True):
            engine.submit(1, [Sample(cases[0].image)])
            if failing:
                with pytest.raises(EngineError, match="out of memory"):
                    engine.collect(1)[0]
            else:
                assert engine.collect(1)[0]["map"].max() == 0


class Clock:
    """Time that passes only while somebody sleeps."""

    now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@pytest.mark.parametrize(
    ("every", "ended_ms"), [(1, [200, 200, 400, 400]), (2, [0, 200, 200, 400])], ids=["all", "each second part"]
)
def test_a_constant_delays_the_parts_it_was_told(
    constant_bundle: Callable[..., Path],
    cases: list[Golden],
    monkeypatch: pytest.MonkeyPatch,
    every: int,
    ended_ms: list[int],
) -> None:
    """The delay counts from submit, so two lanes wait at the same time."""
    monkeypatch.setattr("edge.engines.constant.time", clock := Clock())
    found = []
    with open_engine(EngineChoice(), read_bundle(constant_bundle(delay_ms=200, every=every))) as engine:
        for _ in range(2):
            for lane in (0, 1):
                engine.submit(lane, [Sample(cases[0].image)])
            for lane in (0, 1):
                engine.collect(lane)
                found.append(clock.now_ns // 10**6)
    assert found == ended_ms


def test_a_misspelt_fact_of_a_constant_is_refused(constant_bundle: Callable[..., Path]) -> None:
    """A test that means to delay does delay."""
    with pytest.raises(EngineError, match="delay_s"):
        open_engine(EngineChoice(), read_bundle(constant_bundle(delay_s=1)))
