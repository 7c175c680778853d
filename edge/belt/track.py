"""Keeps the positions that the encoder reported, in shared memory, and tells where the belt is at any time.

One process writes, any number read, and nobody waits. A position is a whole number of ticks. It never wraps
around, and continues where it was after the writer was restarted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..memory.arrays import SharedArrays, fence
from .places import NOWHERE

SAMPLES = 4096
#: A trigger this long after the last sample gets a position at the present speed; one after that gets none.
EXTRAPOLATE_NS = 50_000_000
#: After this time without a sample, the encoder has failed.
STALE_NS = 500_000_000
#: The present speed is that over this time before the last sample.
SPEED_NS = 100_000_000
#: A time that never comes.
NEVER = 2**62
#: The position jumps so far when the count of the encoder was lost, so that no part lies where one was before.
JUMP = 2**40

# Positions of the counters.
_COUNT, _RAW = 0, 1


class Track:
    """The belt's positions over the last SAMPLES samples. Times are nanoseconds of the monotonic clock."""

    def __init__(self, arrays: SharedArrays) -> None:
        self._counters: NDArray[np.int64] = arrays["counters"]
        self._samples: NDArray[np.int64] = arrays["samples"]

    @classmethod
    def create(cls, path: Path) -> Track:
        """Create the file of an empty track. Raise LineError if there is not enough memory."""
        return cls(
            SharedArrays.create(path, {"counters": (np.int64, (2,)), "samples": (np.int64, (SAMPLES, 2))})
        )

    @classmethod
    def open(cls, path: Path) -> Track:
        """Map the file that `create` made. Raise LineError if it is missing."""
        return cls(SharedArrays.open(path))

    def write(self, now_ns: int, ticks: int, raw: int) -> None:
        """Add a sample: the position at `now_ns`, and the encoder's own count, for `last` after a restart.

        A sample that is not later than the one before is ignored. Only the encoder process writes.
        """
        count = int(self._counters[_COUNT])
        if count and now_ns <= self._samples[(count - 1) % SAMPLES, 0]:
            return
        self._samples[count % SAMPLES] = now_ns, ticks
        self._counters[_RAW] = raw
        fence()
        self._counters[_COUNT] = count + 1

    @property
    def last(self) -> tuple[int, int, int] | None:
        """Time, position and the encoder's own count of the last sample; None before the first."""
        count = int(self._counters[_COUNT])
        if not count:
            return None
        at, ticks = self._samples[(count - 1) % SAMPLES].tolist()
        return at, ticks, int(self._counters[_RAW])

    def is_fresh(self, now_ns: int) -> bool:
        """Return whether the encoder has reported a position lately."""
        last = self.last
        return last is not None and now_ns - last[0] <= STALE_NS

    def tick_at(self, ns: int) -> int:
        """Return the position at the time `ns`; NOWHERE if no sample is near enough to tell.

        Between two samples the belt is taken to move steadily, after the last one at the present speed.
        """
        if not len(seen := self._seen()):
            return NOWHERE
        after = int(np.searchsorted(seen[:, 0], ns))
        if after == 0:
            return int(seen[0, 1]) if int(seen[0, 0]) == ns else NOWHERE
        (at, ticks), rest = map(int, seen[after - 1]), seen[after:]
        if not len(rest):
            ahead = ns - at
            return NOWHERE if ahead > EXTRAPOLATE_NS else ticks + round(ahead * _speed(seen))
        later, further = map(int, rest[0])
        if later - at > 2 * EXTRAPOLATE_NS or abs(further - ticks) >= JUMP // 2:
            return further if later == ns else NOWHERE
        return ticks + round((further - ticks) * (ns - at) / (later - at))

    def ns_at(self, ticks: int, now_ns: int) -> int:
        """Return when the belt reaches a position at the present speed; NEVER if it stands or reverses.

        For a position that the belt has passed, a time that is not later than `now_ns` is returned.
        """
        if not len(seen := self._seen()):
            return NEVER
        (at, here), speed = seen[-1].tolist(), _speed(seen)
        if ticks <= here:
            return min(now_ns, int(at))
        return NEVER if speed <= 0 else min(NEVER, int(at) + round((ticks - here) / speed))

    @property
    def stands(self) -> bool:
        """Whether the belt does not move forwards at present."""
        seen = self._seen()
        return not len(seen) or _speed(seen) <= 0

    def _seen(self) -> NDArray[np.int64]:
        """Return the newest half of the samples, `(n, 2)`: time and position. Others may be overwritten."""
        while True:
            count = int(self._counters[_COUNT])
            wanted = np.arange(max(0, count - SAMPLES // 2), count) % SAMPLES
            seen: NDArray[np.int64] = self._samples[wanted]
            fence()
            if int(self._counters[_COUNT]) - count < SAMPLES // 2:
                return seen


def _speed(seen: NDArray[np.int64]) -> float:
    """Return the present speed in ticks per nanosecond, of samples `(n, 2)`."""
    last, first = seen[-1], seen[np.searchsorted(seen[:, 0], seen[-1, 0] - SPEED_NS)]
    span = int(last[0] - first[0])
    moved = int(last[1] - first[1])
    return moved / span if span and abs(moved) < JUMP // 2 else 0.0
