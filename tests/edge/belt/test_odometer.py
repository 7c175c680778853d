"""A position never jumps because a count starts again or because a process was restarted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.belt.odometer import Odometer
from edge.belt.track import JUMP

MS = 1_000_000


@given(
    moves=st.lists(st.integers(-900, 900), min_size=1, max_size=60),
    start=st.integers(0, 65_535),
    bits=st.sampled_from([16, 32]),
    restart=st.integers(0, 60),
)
def test_the_position_follows_the_count_over_wrap_arounds(
    moves: list[int], start: int, bits: int, restart: int
) -> None:
    """Forwards and backwards, over the end of the count, and with a restart of the reading process anywhere."""
    odometer, truth = Odometer(2**bits, 100_000), start
    last = (0, odometer.position(0, start), start)
    for step, move in enumerate(moves, 1):
        truth += move
        if step == restart:
            odometer = Odometer(2**bits, 100_000, last)
        last = (step * 10 * MS, odometer.position(step * 10 * MS, truth % 2**bits), truth % 2**bits)
        assert last[1] == truth


@pytest.mark.parametrize(
    ("ns", "count", "moved"),
    [
        (10 * MS, 1_000, 1_000),
        (10 * MS, 0, 0),
        (10 * MS, 5_000, JUMP),
        (1000 * MS, 60_000, 60_000),
        (10 * MS, 2**32 - 1_000, -1_000),
        (10 * MS, 2**32 - 5_000, JUMP),
    ],
    ids=["moved", "stood", "too fast", "fast enough, after a pause", "reversed", "reversed too fast"],
)
def test_a_count_that_cannot_be_true_is_no_position(ns: int, count: int, moved: int) -> None:
    """After an encoder was reset, no part is taken for where it is not: the positions begin anew far ahead."""
    odometer = Odometer(2**32, 100_000)
    odometer.position(0, 0)
    assert odometer.position(ns, count) == moved


def test_after_a_jump_it_goes_on() -> None:
    """The parts that come after a reset have positions that fit each other."""
    odometer = Odometer(2**16, 1000)
    odometer.position(0, 40_000)
    assert odometer.position(10 * MS, 0) == 40_000 + JUMP
    assert odometer.position(20 * MS, 10) == 40_010 + JUMP
