"""Decides whether a challenge test is due, from how old the last one is. A clock that is set back hides no age.

While the machine runs, the age grows with the time since its start, which no setting of a clock changes. Only
the wall clock tells how long it was off: if that shows an earlier time than before, the age is unknown.
"""

from __future__ import annotations

import time
from pathlib import Path

from msgspec import Struct

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clocks(Struct, frozen=True, kw_only=True):
    """The times at one moment. `boot` is the number of this start of the machine."""

    boot: str
    boot_ns: int  # since the start of the machine, sleep included
    wall_ns: int


class LastTest(Struct, frozen=True, kw_only=True):
    """The last challenge test, and how old it was when this was written down."""

    at: str  # UTC
    by: str
    passed: bool
    report: str  # its file's name
    age_ns: int
    kept: Clocks
    overdue: bool = False  # once it is, it stays so until the next test


def clocks() -> Clocks:
    """Return the times now."""
    return Clocks(
        boot=_BOOT_ID.read_text().strip(),
        boot_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        wall_ns=time.time_ns(),
    )


def age_ns(last: LastTest, now: Clocks) -> int | None:
    """Return how old a test is. None if that is unknown, because the clock was set back while nobody looked."""
    if now.boot == last.kept.boot:
        return last.age_ns + now.boot_ns - last.kept.boot_ns
    away_ns = now.wall_ns - last.kept.wall_ns
    return None if away_ns < 0 else last.age_ns + away_ns


def why_due(last: LastTest | None, now: Clocks, every_ns: int) -> str:
    """Return why a test is due now. Empty if none is."""
    if last is None:
        return "no challenge test was made yet"
    if not last.passed:
        return f"the challenge test of {last.at} by {last.by} failed"
    age = age_ns(last, now)
    if age is None:
        return f"the clock was set back since the challenge test of {last.at}, so its age is unknown"
    if last.overdue or age >= every_ns:
        return f"a challenge test is overdue: the last one is {age / 3.6e12:.1f} h old, of {last.at}"
    return ""


def kept_now(last: LastTest, now: Clocks, every_ns: int) -> LastTest:
    """Return the test with its age now, as it is to be written down. An unknown age is one that is overdue."""
    age = age_ns(last, now)
    return LastTest(
        at=last.at,
        by=last.by,
        passed=last.passed,
        report=last.report,
        age_ns=last.age_ns if age is None else age,
        kept=now,
        overdue=bool(why_due(last, now, every_ns)),
    )
