"""Writes each published verdict and each event of a line into its journal, one commit after the other.

It only reads the ledgers, so a journal that cannot be written delays no verdict. Meanwhile the ledgers hold
what is to be written; what they no longer hold afterwards becomes a gap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from ..errors import JournalDamaged, JournalError
from ..journal.chain import FIRST, Entry, linked
from ..journal.commands import Given
from ..journal.condition import Condition
from ..journal.store import Journal
from ..memory.follow import Follower, Published
from ..memory.ledger import Ledger
from ..messages import utc

log = logging.getLogger(__name__)

#: Time from one commit to the next. A verdict is on the disk after this time and that of two commits, at most.
COMMIT_MS = 50
#: After a failure to write, how long to wait until the next try.
RETRY_NS = 1_000_000_000
#: How often to look for rows that are too old or too many.
TRIM_NS = 60_000_000_000
#: Events that are kept while the journal cannot be written.
MOST_EVENTS = 1000
#: Why verdicts are missing if the journal has not failed.
OVERTAKEN = "the ledger used their rows again before they were written"


class JournalWriter:
    """Follows the runs of a line, and writes what they publish. After a failure it tries again.

    `runs` has the ledgers of each run by the run's number: of the run `run`, and of killed runs before it.
    `start` is the JSON body of the event that says that this process begins to write. `condition` is that which
    the process before has told last. Each change of it is given to `told`. `commands` returns the commands that
    people gave the line in the run `run` so far.
    """

    def __init__(
        self,
        folder: Path,
        line: str,
        run: str,
        runs: Mapping[str, Mapping[str, Ledger]],
        *,
        start: bytes,
        keep_days: int = 0,
        keep_mb: int = 0,
        condition: Condition,
        told: Callable[[Condition], None],
        commands: Callable[[], Sequence[Given]] = tuple,
    ) -> None:
        self._folder, self._line, self._run, self._runs, self._start = folder, line, run, runs, start
        self._keep_days, self._keep_mb = keep_days, keep_mb
        self._commands, self._written = commands, 0
        self._known: dict[bytes, None] = {}
        self._condition, self._told = msgspec.structs.replace(condition, closed=False), told
        told(self._condition)
        self._journal: Journal | None = None
        self._followers: dict[str, Follower] = {}
        self._waiting: list[Entry] = []
        self._events: list[Entry] = []
        self._why = OVERTAKEN
        self._retry_ns = self._trim_ns = 0

    def open(self) -> None:
        """Open the journal, and write that this process begins. Raise JournalError if it cannot be written."""
        self._journal = Journal(self._folder, self._line)
        if self._journal.aside:
            self._tell(aside=str(self._journal.aside))
        self._follow()

    def step(self, now_ns: int) -> None:
        """Write what was published since the last step. A failure is told, and tried again after RETRY_NS."""
        if now_ns < self._retry_ns:
            return
        failed = bool(self._condition.error)
        try:
            if self._journal is None:
                self.open()
            self._write()
            self._trim(now_ns)
        except JournalDamaged as error:
            self._put_aside(error, now_ns)
        except JournalError as error:
            self.fail(error, now_ns)
        else:
            # What comes next may already be missing because of the failure.
            self._why = self._why if failed else OVERTAKEN
            self._tell(error="")

    def fail(self, error: JournalError, now_ns: int) -> None:
        """Tell that the journal could not be written at `now_ns`, and wait until the next try."""
        if not self._condition.error:
            log.error("the journal stops, verdicts do not: %s", error)
        self._why, self._retry_ns = str(error), now_ns + RETRY_NS
        self._tell(error=str(error))

    def event(self, topic: str, body: bytes, at_ns: int) -> None:
        """Keep an event that was published under `<kind>.<line>` for the next step.

        What is no JSON in one line is refused. So is an event while MOST_EVENTS wait. An event that is one of
        the last MOST_EVENTS is left out: the line sends each active alarm again when a subscriber comes.
        """
        if body in self._known:
            return
        kind = topic.partition(".")[0]
        try:
            msgspec.json.decode(body)
            entry = Entry(kind=kind, run=self._run, number=0, topic=topic, at=utc(at_ns), body=body)
            linked(entry, 1, FIRST)
        except (ValueError, msgspec.MsgspecError) as error:
            log.error("an event is not written, it is no JSON in one line: %s", error)
            return
        if len(self._events) == MOST_EVENTS:
            log.error("%s: %d events wait for the journal already: not written", topic, MOST_EVENTS)
            return
        self._events.append(entry)
        self._known[body] = None
        if len(self._known) > MOST_EVENTS:
            del self._known[next(iter(self._known))]

    @property
    def is_waiting(self) -> bool:
        """Whether a captured part of one of the runs has no verdict yet."""
        return any(ledger.waiting for ledgers in self._runs.values() for ledger in ledgers.values())

    def close(self, body: bytes) -> bool:
        """Write the last verdicts and that this process ends in order. Return whether all is written.

        So is that each killed run has ended whose verdicts are all written. The journal is closed. A failure
        is told.
        """
        self._retry_ns = 0
        self.step(time.monotonic_ns())
        try:
            if self._journal and not self._condition.error:
                for run, ledgers in self._runs.items():
                    if run == self._run or not any(ledger.waiting for ledger in ledgers.values()):
                        self._journal.event("close", run, body)
                self._tell(closed=not self.is_waiting)
        except JournalError as error:
            self._tell(error=str(error))
        finally:
            if self._journal:
                self._journal.close()
        return self._condition.closed

    def _follow(self) -> None:
        """Follow each run from where the journal ends, and write that this process begins."""
        assert self._journal is not None
        self._followers = {
            run: Follower(ledgers, self._journal.last(run)) for run, ledgers in self._runs.items()
        }
        self._waiting = []
        self._written = self._journal.count("command", self._run)
        kind = "resume" if self._journal.knows(self._run) else "start"
        self._journal.event(kind, self._run, self._start)

    def _write(self) -> None:
        assert self._journal is not None
        if not self._waiting:
            self._waiting = [
                entry_of(run, published)
                for run, follower in self._followers.items()
                for published in follower.take()
            ]
        given = [self._entry_of(each) for each in self._commands()[self._written :]]
        if self._waiting or self._events or given:
            missing = self._journal.write([*self._waiting, *self._events, *given], self._why)
            self._waiting, self._events = [], []
            self._written += len(given)
            self._tell(missing=self._condition.missing + missing)

    def _entry_of(self, given: Given) -> Entry:
        body = msgspec.json.encode({"line": given.line, "command": given.command, "keys": given.keys})
        return Entry(kind="command", run=self._run, number=0, at=given.at, body=body)

    def _trim(self, now_ns: int) -> None:
        assert self._journal is not None
        if now_ns >= self._trim_ns:
            more = self._journal.trim(self._run, self._keep_days, self._keep_mb)
            self._trim_ns = now_ns + (RETRY_NS if more else TRIM_NS)

    def _put_aside(self, error: JournalDamaged, now_ns: int) -> None:
        """Begin a new file, and write again what the ledgers still hold: the old file may be lost."""
        assert self._journal is not None
        try:
            self._journal.put_aside()
            log.error("%s: put aside as %s", error, self._journal.aside)
            self._tell(aside=str(self._journal.aside))
            self._why = f"{self._journal.aside}: they may be in this file, which was damaged"
            self._follow()
        except JournalError as failure:
            self._journal.close()
            self._journal = None
            self.fail(failure, now_ns)

    def _tell(self, **changes: object) -> None:
        condition = msgspec.structs.replace(self._condition, **changes)
        if condition != self._condition:
            self._condition = condition
            self._told(condition)


def entry_of(run: str, published: Published) -> Entry:
    """Return what the journal says of a published verdict."""
    part, record = published.part, published.record
    # By the wall clock at capture and the time since, so a clock that is set meanwhile changes nothing.
    at_ns = part.captured_at_ns + record.published_ns - part.captured_ns
    return Entry(
        kind="verdict",
        run=run,
        number=published.number,
        topic=record.topic.decode(),
        at=utc(at_ns),
        body=record.body,
    )
