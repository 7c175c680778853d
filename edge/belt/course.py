"""Tells where a belt is at a time, and when it reaches a place: by the clock, or by the encoder's track."""

from __future__ import annotations

from typing import Protocol

from .places import NOWHERE
from .track import JUMP, NEVER, Track

#: A trigger is in the ledger this long after it came, if the process of its camera runs.
ENTRY_NS = 50_000_000
#: No deadline is later than this after its trigger, also if the belt stands meanwhile.
LONGEST_NS = 600_000_000_000


class Course(Protocol):
    """How a belt moves. Times are nanoseconds of the monotonic clock, positions nanoseconds or ticks."""

    def position(self, ns: int) -> int:
        """Return the position at a time that was a moment ago; NOWHERE if it is not known."""
        ...

    def passed(self, now_ns: int) -> int:
        """Return the position up to which all triggers have been entered."""
        ...

    def reach_ns(self, position: int, now_ns: int) -> int:
        """Return when the belt is at a position: NEVER if it stands; not later than now if it has passed it."""
        ...

    def is_known(self, position: int, now_ns: int) -> bool:
        """Return whether it is known where the part that was triggered at this position is now."""
        ...


class ByTime:
    """A belt with a constant speed: a position is the time at which a part came by the first camera."""

    def position(self, ns: int) -> int:
        return ns

    def passed(self, now_ns: int) -> int:
        return now_ns - ENTRY_NS

    def reach_ns(self, position: int, now_ns: int) -> int:
        return position

    def is_known(self, position: int, now_ns: int) -> bool:
        return True


class ByEncoder:
    """A belt whose position an encoder reports."""

    def __init__(self, track: Track) -> None:
        self._track = track

    def position(self, ns: int) -> int:
        return self._track.tick_at(ns)

    def passed(self, now_ns: int) -> int:
        # Without a position nothing counts as passed: NOWHERE is below every other one.
        return self._track.tick_at(now_ns - ENTRY_NS)

    def reach_ns(self, position: int, now_ns: int) -> int:
        return self._track.ns_at(position, now_ns)

    def is_known(self, position: int, now_ns: int) -> bool:
        last = self._track.last
        return (
            last is not None
            and self._track.is_fresh(now_ns)
            and position != NOWHERE
            and abs(last[1] - position) < JUMP // 2
        )


class Ended:
    """The belt of a run that has ended: everything has passed, and nothing comes any more."""

    def position(self, ns: int) -> int:
        return NOWHERE

    def passed(self, now_ns: int) -> int:
        return NEVER

    def reach_ns(self, position: int, now_ns: int) -> int:
        return now_ns

    def is_known(self, position: int, now_ns: int) -> bool:
        return True
