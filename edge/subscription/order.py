"""Puts a line's verdicts into the order of their numbers, and says which ones have to be asked for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from .events import Missed

T = TypeVar("T")
#: Number of verdicts that are kept while earlier ones are missing. A caller takes no more until there is room.
MOST_AHEAD = 2000
#: Number of ended runs that are remembered, so that their verdicts, if they come again, are known to be old.
RUNS_REMEMBERED = 16


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A range of verdicts to ask the line for. If `last` is None, all verdicts to the end of the run."""

    run: str
    first: int
    last: int | None


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place in the verdicts that a subscriber has reached: the last one of `run` has this `number`.

    Number 0 is the place before the first verdict. An empty `run` stands for the run that goes on now.
    """

    run: str = ""
    number: int = 0


class Order(Generic[T]):
    """Takes messages as they come, and gives each verdict once, in the order of the runs and numbers.

    It starts after the place `after`, or with the first message that comes. A heartbeat names the number of the
    last verdict before it, so it shows gaps as well. It is given after that verdict, unless a newer heartbeat
    comes first. Only a heartbeat of another run ends a run: the publish process of the next run may still send
    verdicts of the run before.
    """

    def __init__(self, after: Place | None = None) -> None:
        self._after = after
        self._run = after.run if after else ""
        self._next = after.number + 1 if after else 0
        self._ahead: dict[int, T] = {}
        self._others: dict[str, dict[int, T]] = {}  # verdicts of other runs, which may become the current one
        self._newest = 0  # highest number of the run that a heartbeat or verdict has named
        self._beat: tuple[str, int, T] | None = None  # heartbeat that waits for verdicts before it
        self._ended: deque[str] = deque(maxlen=RUNS_REMEMBERED)
        self._given: list[tuple[Place, T | Missed]] = []

    def verdict(self, run: str, number: int, item: T) -> None:
        """Take a verdict, from the line or from an answer. One that was given before is ignored."""
        if not self._run and not self._after:
            self._run, self._next = run, number
        if run == self._run:
            if number >= self._next:
                self._ahead.setdefault(number, item)
                self._newest = max(self._newest, number)
                self._advance()
        elif run not in self._ended and not self.is_full:
            self._others.setdefault(run, {})[number] = item

    def heartbeat(self, run: str, number: int, item: T) -> None:
        """Take a heartbeat. `number` is that of the last verdict before it, 0 if the run has none yet."""
        if run in self._ended:
            return
        if not self._run:
            self._begin(run, self._next or number + 1)
        self._beat = run, number, item
        if run == self._run:
            self._newest = max(self._newest, number)
            self._others.clear()
        self._advance()

    def take(self) -> list[tuple[Place, T | Missed]]:
        """Return what can be given now, each with the place that is reached by it."""
        given, self._given = self._given, []
        return given

    @property
    def is_full(self) -> bool:
        """Whether as many verdicts are kept as may be. The caller takes no message of the line until then."""
        return len(self._ahead) + sum(map(len, self._others.values())) >= MOST_AHEAD

    @property
    def wanted(self) -> Wanted | None:
        """The verdicts that are missing before anything more can be given. None: nothing is missing."""
        if not self._run:
            return None
        if self._beat and self._beat[0] != self._run:
            return Wanted(run=self._run, first=self._next, last=None)
        last = min(self._ahead, default=self._newest + 1) - 1
        return Wanted(run=self._run, first=self._next, last=last) if last >= self._next else None

    def answered(self, run: str, upto: int, *, ended: bool = False, then: str = "") -> None:
        """Note that the line has sent all that it still has of `run` up to the number `upto`.

        What has not come of these is lost. `ended` says that `upto` was the last verdict of the run, and `then`
        names the run that followed, if there was one before the one that goes on now.
        """
        wanted = self.wanted
        if run != self._run or wanted is None:
            return
        self._lose(upto if wanted.last is None else min(upto, self._newest))
        if ended and self._beat and self._beat[0] != run:
            self._leave(then)

    def give_up(self, then: str = "") -> None:
        """Note that nobody can tell what is missing: it is lost. `then` is the run that followed, if known."""
        wanted = self.wanted
        if wanted is None:
            return
        self._lose(self._newest if wanted.last is None else wanted.last)
        if wanted.last is None:
            self._give(self._next - 1, Missed(run=self._run, first=self._next, last=None))
            self._leave(then)

    def _begin(self, run: str, first: int) -> None:
        self._run, self._next, self._newest = run, first, 0
        self._ahead = {number: item for number, item in self._others.pop(run, {}).items() if number >= first}
        self._newest = max(self._ahead, default=0)

    def _leave(self, then: str) -> None:
        """Go on with the run that followed: the one that is named, or else the one that goes on now."""
        assert self._beat is not None
        self._ended.append(self._run)
        known = then and then not in self._ended
        self._begin(then if known else self._beat[0], 1)
        if self._beat[0] == self._run:
            self._newest = max(self._newest, self._beat[1])
        self._advance()

    def _lose(self, upto: int) -> None:
        """Report as lost what is missing up to the number `upto`, and give what comes between and after."""
        while self._next <= upto:
            last = min(upto, min(self._ahead, default=upto + 1) - 1)
            missed = Missed(run=self._run, first=self._next, last=last)
            self._next = last + 1
            self._give(last, missed)
            self._advance()

    def _advance(self) -> None:
        """Give what can be given: the next verdicts, and a heartbeat whose verdicts have all been given."""
        while self._next in self._ahead:
            item = self._ahead.pop(self._next)
            self._next += 1
            self._give(self._next - 1, item)
        if self._beat and self._beat[0] == self._run and self._beat[1] < self._next:
            (_, _, item), self._beat = self._beat, None
            self._give(self._next - 1, item)

    def _give(self, number: int, item: T | Missed) -> None:
        self._given.append((Place(run=self._run, number=number), item))
