"""Which of the waiting parts go onto a lane next, and how many together; no clocks, sockets or devices."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

# What is not tried since it took too long is expected to take less each time: one slow part stops no line.
_DOUBT = 0.9
_DOUBT_OF_BATCHES = 0.97  # smaller ones go meanwhile


@dataclass
class _Flight(Generic[T]):
    parts: list[T]
    started_ns: int
    end_ns: float  # as is to be expected


class Schedule(Generic[T]):
    """Parts in the order of their deadlines, on lanes that take up to `batch` of them at once.

    Nothing waits for company: an idle lane takes what is there, as many as fit a batch and as the earliest
    deadline leaves time for, going by how long such batches took of late. A part that would be done later than
    `guard_ns` before its deadline is passed over, since publish turns it `late` then anyway, and work on it
    would make the next ones late too.
    """

    def __init__(self, *, lanes: int, batch: int, guard_ns: int) -> None:
        self._lanes, self._batch, self._guard_ns = lanes, batch, guard_ns
        self._waiting: deque[tuple[T, int]] = deque()  # with the deadline
        self._flights: deque[_Flight[T]] = deque()
        self._usual = _Durations()
        self._done_ns = 0

    @property
    def has_room(self) -> bool:
        """Whether one more part would still go with those that wait."""
        return len(self._waiting) < self._batch

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._flights

    @property
    def in_flight(self) -> int:
        """How many lanes are busy."""
        return len(self._flights)

    @property
    def is_full(self) -> bool:
        """Whether every lane is busy."""
        return len(self._flights) == self._lanes

    def enter(self, part: T, deadline_ns: int) -> None:
        """A part has come."""
        self._waiting.append((part, deadline_ns))

    def next(self, now_ns: int) -> list[T]:
        """The parts to start now on an idle lane; none where nothing waits or every lane is busy."""
        if self.is_full:
            return []
        while self._waiting and self._end_ns(1, now_ns) > self._limit_ns:
            self._waiting.popleft()
            if not self._flights:  # else what is in flight will tell how long it takes now
                self._usual.doubt(1, _DOUBT)
        count = min(len(self._waiting), self._batch)
        while count > 1 and self._end_ns(count, now_ns) > self._limit_ns:
            self._usual.doubt(count, _DOUBT_OF_BATCHES)
            count -= 1
        if not count:
            return []
        end_ns = self._end_ns(count, now_ns)
        self._flights.append(_Flight([self._waiting.popleft()[0] for _ in range(count)], now_ns, end_ns))
        return list(self._flights[-1].parts)

    @property
    def _limit_ns(self) -> int:
        """Until when the part that has waited longest has to be done."""
        return self._waiting[0][1] - self._guard_ns

    def _end_ns(self, count: int, now_ns: int) -> float:
        """When so many more would be done, after what is in flight."""
        before_ns = self._flights[-1].end_ns if self._flights else 0
        return max(now_ns, before_ns) + self._usual.expected_ns(count)

    def refused(self, parts: Iterable[T]) -> None:
        """Some of the parts that were to be started last could not be."""
        gone = {id(part) for part in parts}
        flight = self._flights.pop()
        flight.parts = [part for part in flight.parts if id(part) not in gone]
        if flight.parts:
            self._flights.append(flight)

    def done(self, now_ns: int) -> list[T]:
        """The parts that were started first are done."""
        flight = self._flights.popleft()
        self._usual.took(len(flight.parts), now_ns - max(flight.started_ns, self._done_ns))
        self._done_ns = now_ns
        return flight.parts

    def left(self) -> list[T]:
        """All parts that are waiting or in flight."""
        return [
            *(part for flight in self._flights for part in flight.parts),
            *(part for part, _ in self._waiting),
        ]


@dataclass
class _Durations:
    """How long batches took of late, by their size, once those before them were done."""

    _usual_ns: dict[int, float] = field(default_factory=dict)

    def took(self, count: int, ns: int) -> None:
        usual = self._usual_ns.get(count, float(ns))
        self._usual_ns[count] = usual + (ns - usual) / 4

    def expected_ns(self, count: int) -> float:
        """Of a size that was not seen yet, what the next smaller one would take so often."""
        smaller = max((known for known in self._usual_ns if known <= count), default=0)
        return self._usual_ns[smaller] * count / smaller if smaller else 0.0

    def doubt(self, count: int, factor: float) -> None:
        """Expect less of a size that was not tried for its length."""
        self._usual_ns[count] = factor * self.expected_ns(count)
