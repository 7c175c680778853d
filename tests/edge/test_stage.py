"""How a stage runs, apart from what it does."""

from __future__ import annotations

from edge.stage import Patience

MS = 1_000_000


def test_parts_that_would_be_too_late_are_passed_over() -> None:
    """Under overload the stage works on parts that it can finish, and not on those it cannot."""
    patience = Patience(guard_ns=10 * MS)
    for _ in range(20):
        patience.took(60 * MS)
    assert patience.suffices(75 * MS)
    assert not patience.suffices(65 * MS)


def test_one_slow_part_does_not_stop_the_line() -> None:
    """After a part that took longer than any deadline, parts are soon taken on again."""
    patience = Patience(guard_ns=10 * MS)
    patience.took(10_000 * MS)
    passed_over = 0
    while not patience.suffices(200 * MS):
        passed_over += 1
    assert 0 < passed_over < 40


def test_an_overloaded_stage_still_does_what_it_can() -> None:
    """Half of the parts of twice too fast a line are judged in time, and none of them is late."""
    patience, now, judged, late = Patience(guard_ns=10 * MS), 0, 0, 0
    for captured in range(0, 10_000 * MS, 5 * MS):
        now = max(now, captured)
        deadline = captured + 100 * MS
        if patience.suffices(deadline - now):
            now += 10 * MS
            patience.took(10 * MS)
            judged += 1
            late += now > deadline - 10 * MS
    assert late == 0
    assert judged > 0.48 * 2000
