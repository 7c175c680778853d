"""Chooses which waiting parts start next and how many together. It uses no clock and no device itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Generic, TypeVar

T = TypeVar("T")

# Each time a batch size is skipped as too slow, its expected time shrinks by this factor. So it is tried again,
# and one slow part does not stop the line.
_SKIPPED = 0.9
# The same factor for batches of several parts. It is closer to 1, because smaller batches run meanwhile.
_SKIPPED_BATCH = 0.97


@dataclass
class _Flight(Generic[T]):
    parts: list[T]
    started_ns: int
    end_ns: float  # when it is expected to end


class Schedule(Generic[T]):
    """Assigns waiting parts, in the order of their deadlines, to lanes in batches of up to `batch` parts.

    A lane works on one batch at a time. An idle lane never waits for more parts: it takes as many waiting parts
    as fit a batch and can be done before the earliest deadline. How long a batch will take is estimated
    from the last batches of its size. A part is skipped if it would be done less than `guard_ns` before its
    deadline. Publish makes such a part `late` anyway, and work on it would delay the next parts.

    Deadlines may move while parts wait: they are asked for each time that a lane is idle.
    """

    def __init__(self, *, lanes: int, batch: int, guard_ns: int) -> None:
        self._lanes, self._batch, self._guard_ns = lanes, batch, guard_ns
        # In the order of their deadlines when `next` was called last, and those that came since.
        self._waiting: list[T] = []
        # In the order of their starts.
        self._flights: list[_Flight[T]] = []
        self._usual = _Durations()
        self._done_ns = 0

    @property
    def has_room(self) -> bool:
        """Whether fewer parts wait than fit in one batch."""
        return len(self._waiting) < self._batch

    @property
    def is_idle(self) -> bool:
        """Whether no part waits and every lane is idle."""
        return not self._waiting and not self._flights

    @property
    def in_flight(self) -> int:
        """Number of busy lanes."""
        return len(self._flights)

    @property
    def is_full(self) -> bool:
        """Whether every lane is busy."""
        return len(self._flights) == self._lanes

    def enter(self, part: T) -> None:
        """Add a new part to the waiting parts."""
        self._waiting.append(part)

    def next(self, now_ns: int, deadline_at: Callable[[T, int], int]) -> list[T]:
        """Return the parts to start at `now_ns`: none if no lane is idle or no part can be done in time.

        `deadline_at` returns the deadline of a part as it is known at a time.
        """
        if self.is_full or not self._waiting:
            return []
        # Parts with equal deadlines stay in the order in which they came.
        deadlines = ((deadline_at(part, now_ns), part) for part in self._waiting)
        waiting = deque(sorted(deadlines, key=itemgetter(0)))
        while waiting and self._end_ns(1, now_ns) > waiting[0][0] - self._guard_ns:
            waiting.popleft()
            # If a batch is in work, its end will show how long parts take now.
            if not self._flights:
                self._usual.shorten(1, _SKIPPED)
        count = min(len(waiting), self._batch)
        while count > 1 and self._end_ns(count, now_ns) > waiting[0][0] - self._guard_ns:
            self._usual.shorten(count, _SKIPPED_BATCH)
            count -= 1
        self._waiting = [part for _, part in waiting]
        if not count:
            return []
        end_ns = self._end_ns(count, now_ns)
        self._flights.append(_Flight(self._waiting[:count], now_ns, end_ns))
        del self._waiting[:count]
        return list(self._flights[-1].parts)

    def _end_ns(self, count: int, now_ns: int) -> float:
        """Return when a batch of `count` parts would be done if it started after all batches in work."""
        before_ns = self._flights[-1].end_ns if self._flights else 0
        return max(now_ns, before_ns) + self._usual.expected_ns(count)

    def refused(self, parts: Iterable[T]) -> None:
        """Remove these parts, which could not be started, from the batch that was started last."""
        gone = {id(part) for part in parts}
        flight = self._flights.pop()
        flight.parts = [part for part in flight.parts if id(part) not in gone]
        if flight.parts:
            self._flights.append(flight)

    def done(self, now_ns: int, position: int = 0) -> list[T]:
        """Note that a batch in work is done at `now_ns`, and return its parts.

        `position` is the number of batches in work that were started before it.
        """
        flight = self._flights.pop(position)
        self._usual.took(len(flight.parts), now_ns - max(flight.started_ns, self._done_ns))
        self._done_ns = now_ns
        return flight.parts

    def left(self) -> list[T]:
        """Return all parts that wait or are in work."""
        return [
            *(part for flight in self._flights for part in flight.parts),
            *self._waiting,
        ]


@dataclass
class _Durations:
    """How long batches of each size took lately, without the time that they waited for an earlier batch."""

    _usual_ns: dict[int, float] = field(default_factory=dict)

    def took(self, count: int, ns: int) -> None:
        """Note that a batch of `count` parts took `ns` nanoseconds."""
        usual = self._usual_ns.get(count, float(ns))
        self._usual_ns[count] = usual + (ns - usual) / 4

    def expected_ns(self, count: int) -> float:
        """Return how long `count` parts should take. Scale a new size from the next smaller known size."""
        smaller = max((known for known in self._usual_ns if known <= count), default=0)
        return self._usual_ns[smaller] * count / smaller if smaller else 0.0

    def shorten(self, count: int, factor: float) -> None:
        """Multiply the expected time of batches of `count` parts by `factor`."""
        self._usual_ns[count] = factor * self.expected_ns(count)
