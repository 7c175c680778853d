"""A simulated belt is the same belt for every process, and a board reaches each place once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.belt.motion import Motion
from edge.recipe import SimulatedEncoder

S = 1_000_000_000
SECTIONS = st.builds(
    SimulatedEncoder,
    ticks_per_s=st.floats(10, 10_000),
    slip=st.floats(0, 0.9),
    stop_every_s=st.sampled_from([0.0, 2.0, 7.0]),
    stop_s=st.floats(0, 2),
    back_s=st.floats(0, 1),
    seed=st.integers(0, 1000),
)


@given(section=SECTIONS, position=st.integers(0, 10**6))
@settings(deadline=None)
def test_a_position_is_reached_for_the_first_time(section: SimulatedEncoder, position: int) -> None:
    """At that time the belt is there, and it has not been there before."""
    motion = Motion(section)
    ns = motion.reach_ns(position)
    assert abs(motion.position(ns) - position) <= 1
    for before in (1000, S // 100, S, 10 * S):
        assert motion.position(ns - before) <= position


@given(section=SECTIONS, start=st.integers(10 * S, 10**6 * S), step=st.integers(1, S))
@settings(deadline=None)
def test_the_belt_never_jumps(section: SimulatedEncoder, start: int, step: int) -> None:
    """In any time it moves at most as far as its highest speed allows."""
    moved = Motion(section).position(start + step) - Motion(section).position(start)
    assert abs(moved) <= section.ticks_per_s * (1 + section.slip) * step / S + 2


@pytest.mark.parametrize(
    ("after_s", "position"),
    [(1, 100), (2, 200), (3, 200), (3.5, 150), (4, 100), (5, 200), (6, 300)],
    ids=["runs", "comes to a stop", "stands", "goes back", "runs again", "is where it was", "gets farther"],
)
def test_it_stops_and_goes_back(after_s: float, position: int) -> None:
    """One cycle: two seconds on, one second's rest, one second back."""
    section = SimulatedEncoder(ticks_per_s=100, stop_every_s=2, stop_s=1, back_s=1)
    assert Motion(section).position(round(after_s * S)) == position
