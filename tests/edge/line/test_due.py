"""When a challenge test is due: by the time that has really passed, whatever is done to a clock."""

from __future__ import annotations

import random

from msgspec.structs import replace

from edge.line.due import Clocks, LastTest, age_ns, clocks, kept_now, why_due

HOUR = 3_600_000_000_000
START = Clocks(boot="one", boot_ns=HOUR, wall_ns=1000 * HOUR)
TEST = LastTest(at="2026-11-30T06:00:00Z", by="anna", passed=True, report="r.json", age_ns=0, kept=START)


def later(hours: float, *, boot: str = "one", wall: float | None = None) -> Clocks:
    """The clocks after some hours; the wall clock may have moved by other hours."""
    return Clocks(
        boot=boot,
        boot_ns=START.boot_ns + round(hours * HOUR),
        wall_ns=START.wall_ns + round((hours if wall is None else wall) * HOUR),
    )


def test_a_test_is_due_when_its_time_has_passed() -> None:
    """And at once where none was made, or where the last one failed."""
    assert why_due(TEST, later(7.9), 8 * HOUR) == ""
    assert "8.0 h old" in why_due(TEST, later(8), 8 * HOUR)
    assert "no challenge test" in why_due(None, later(0), 8 * HOUR)
    assert "failed" in why_due(replace(TEST, passed=False), later(0.1), 8 * HOUR)


def test_a_wall_clock_that_is_set_changes_nothing_while_the_machine_runs() -> None:
    """Neither back, which would make the test younger, nor forth."""
    for wall in (-500, 0, 500):
        assert age_ns(TEST, later(9, wall=wall)) == 9 * HOUR


def test_after_a_start_of_the_machine_the_wall_clock_tells_how_long_it_was_off() -> None:
    """Its time since the start begins anew then."""
    assert age_ns(TEST, later(-1, boot="two", wall=5)) == 5 * HOUR


def test_a_clock_that_was_set_back_over_a_start_makes_the_age_unknown() -> None:
    """And a test due: what is unknown must not count as fresh."""
    back = later(-1, boot="two", wall=-0.5)
    assert age_ns(TEST, back) is None
    assert "set back" in why_due(TEST, back, 8 * HOUR)
    assert kept_now(TEST, back, 8 * HOUR).overdue


def test_an_overdue_test_never_becomes_fresh_again() -> None:
    """Whatever is done to the clock, only a new test helps. Ages that are kept never fall."""
    random_ = random.Random(11)
    for _ in range(300):
        kept, passed, boot, boot_ns, wall_ns, was_due = TEST, 0, 0, START.boot_ns, START.wall_ns, False
        for _ in range(20):
            step = random_.randrange(HOUR)
            passed, boot_ns, wall_ns = passed + step, boot_ns + step, wall_ns + step
            if random_.random() < 0.3:
                wall_ns += random_.randrange(-3 * HOUR, 3 * HOUR)
            if random_.random() < 0.3:
                boot, boot_ns = boot + 1, random_.randrange(HOUR)
            now = Clocks(boot=str(boot or "one"), boot_ns=boot_ns, wall_ns=wall_ns)
            again = kept_now(kept, now, 4 * HOUR)
            assert again.age_ns >= kept.age_ns
            assert again.overdue or not was_due
            kept, was_due = again, again.overdue


def test_the_age_is_whole_where_no_clock_is_set() -> None:
    """Over any starts of line and machine, kept as often as one likes."""
    kept = TEST
    for hour in range(1, 8):
        now = later(hour) if hour < 4 else later(hour - 10, boot="two", wall=hour)
        kept = kept_now(kept, now, 24 * HOUR)
    assert kept.age_ns == 7 * HOUR


def test_the_clocks_of_this_machine_are_read() -> None:
    """Twice in a row they are of one start, and do not run back."""
    first, second = clocks(), clocks()
    assert first.boot == second.boot != ""
    assert first.boot_ns <= second.boot_ns
