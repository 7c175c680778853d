"""Keeps the last verdicts of a line in bounded memory, and finds those that a subscriber missed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

#: What is kept at most: this number of verdicts, and of bytes in them.
MOST_KEPT, MOST_BYTES = 20_000, 32_000_000
#: Size of one answer: as many verdicts as do not exceed it, but at least one.
ANSWER_BYTES = 32_768


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is left of a range of verdicts. All that is left up to `upto` is there; the rest is to be asked for.

    `upto` is below the first number of the range if that verdict has not been published yet.
    """

    upto: int
    verdicts: tuple[tuple[bytes, bytes], ...]  # topic and body of each, in order
    ended: bool  # the verdict `upto` is the last one of the run
    then: str  # the run that followed, if the run has ended
    known: bool = True  # False: nobody knows what the run has from the first number on


@dataclass
class _Run:
    newest: int = 0
    ended: bool = False
    published_ns: dict[int, int] = field(default_factory=dict)
    verdicts: OrderedDict[int, tuple[bytes, bytes]] = field(default_factory=OrderedDict)


class Kept:
    """The last verdicts of a line, over all of its runs that are known. The oldest are forgotten first."""

    def __init__(self, most: int = MOST_KEPT, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._runs: dict[str, _Run] = {}
        self._count = self._bytes = 0

    def begin(self, run: str) -> None:
        """Note that a run follows those that are known so far."""
        self._runs.setdefault(run, _Run())

    def add(self, run: str, number: int, topic: bytes, body: bytes, published_ns: int) -> None:
        """Keep a verdict of a run that has begun. Numbers rise within a run."""
        kept = self._runs[run]
        kept.newest = number
        kept.verdicts[number] = (topic, body)
        kept.published_ns[number] = published_ns
        self._count += 1
        self._bytes += len(topic) + len(body)
        while self._count > self._most or self._bytes > self._most_bytes:
            self._forget_oldest()

    def end(self, run: str) -> None:
        """Note that the run gets no further verdict."""
        self._runs[run].ended = True

    def oldest_ns(self, run: str) -> int | None:
        """Return when the oldest verdict of a run that is kept was published. None if none is."""
        return next(iter(self._runs[run].published_ns.values()), None)

    def newest(self, run: str) -> int:
        """Return the number of the last verdict so far of a run that has begun, 0 before the first."""
        return self._runs[run].newest

    def published_ns(self, run: str, number: int) -> int | None:
        """Return when a verdict was published. None if it is not kept."""
        return self._runs[run].published_ns.get(number)

    @property
    def first_run(self) -> str:
        """The oldest run that is known; empty if none is."""
        return next(iter(self._runs), "")

    def missing(self, run: str, first: int, upto: int) -> tuple[int, int]:
        """Return the first and the last number of the first verdicts from `first` to `upto` that are not kept.

        The run is known, and one of these is not kept.
        """
        verdicts = self._runs[run].verdicts
        begin = next(number for number in range(first, upto + 1) if number not in verdicts)
        return begin, next((number - 1 for number in verdicts if begin < number <= upto), upto)

    def find(self, run: str, first: int, last: int | None) -> Found | None:
        """Return the verdicts `first` to `last` of a run, or the first of them that make up an answer.

        If `last` is None, the range has no end. Returns None if the run is unknown.
        """
        if run not in self._runs:
            return None
        kept = self._runs[run]
        upto = kept.newest if last is None else min(last, kept.newest)
        found, size = list[tuple[bytes, bytes]](), 0
        for number, verdict in self._from(kept, first, upto):
            size += sum(map(len, verdict))
            if found and size > ANSWER_BYTES:
                upto = number - 1
                break
            found.append(verdict)
        ended = kept.ended and upto == kept.newest
        return Found(upto=upto, verdicts=tuple(found), ended=ended, then=self._next(run) if ended else "")

    def _from(self, kept: _Run, first: int, upto: int) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
        oldest = next(iter(kept.verdicts), kept.newest + 1)
        for number in range(max(first, oldest), upto + 1):
            if (verdict := kept.verdicts.get(number)) is not None:
                yield number, verdict

    def _next(self, run: str) -> str:
        runs = list(self._runs)
        return next(iter(runs[runs.index(run) + 1 :]), "")

    def _forget_oldest(self) -> None:
        kept = next(kept for kept in self._runs.values() if kept.verdicts)
        number, verdict = kept.verdicts.popitem(last=False)
        del kept.published_ns[number]
        self._count -= 1
        self._bytes -= sum(map(len, verdict))
