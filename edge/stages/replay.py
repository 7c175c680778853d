"""Answers subscribers that ask for verdicts which they missed, and notes which verdicts they confirm."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zmq
from numpy.typing import NDArray

from ..errors import WireError
from ..memory.confirmed import Confirmation, Confirmed
from ..memory.follow import Published
from ..subscription.protocol import (
    Confirm,
    ConfirmedLast,
    Replay,
    Replayed,
    Which,
    encoded,
    question_from,
)
from .gate import Gate
from .kept import Kept
from .liveness import Liveness
from .recall import Recall

log = logging.getLogger(__name__)

#: How often the ledgers are read at least. A ledger holds far more verdicts than are published meanwhile.
READ_MS = 20
#: Number of questions to answer, and time to begin with another one, until the process shows that it lives.
MOST_AT_ONCE, AT_ONCE_NS = 100, 500_000_000


class Answers:
    """Answers questions about the verdicts of the run `run` and of those before it.

    They come from `kept` and, if the line has one, from the file `journal`. `follow` returns the verdicts of
    this run that were published since it was called last.
    """

    def __init__(
        self,
        run: str,
        kept: Kept,
        confirmed: Confirmed | None,
        follow: Callable[[], Sequence[Published]],
        journal: Path | None = None,
    ) -> None:
        self._run, self._kept, self._confirmed, self._follow = run, kept, confirmed, follow
        self._recall = Recall(kept, journal)
        kept.begin(run)

    def read(self) -> None:
        """Keep what was published since the last call."""
        published = self._follow()
        for one in published:
            record = one.record
            self._kept.add(self._run, one.number, record.topic, record.body, record.published_ns)
        if published and self._confirmed:
            for name in self._confirmed:
                last = self._confirmed[name]
                if not last.due_ns:
                    self._confirmed[name] = self._due(last)

    def to(self, data: bytes, user: str | None, now_ns: int) -> list[bytes]:
        """Return the parts of the answer to a question; a confirmation has none.

        `user` is the name of the key that the subscriber has proved to own; None if none was asked for. Raise
        WireError if it is no question, or if the subscriber may not say this.
        """
        question = question_from(data)
        # A subscriber may have heard of a verdict that was not read here yet.
        self.read()
        if isinstance(question, Replay):
            return self._replay(question, now_ns)
        if isinstance(question, Which):
            return [encoded(self._last(question.name, user))]
        self._confirm(question, user, now_ns)
        return []

    def _replay(self, question: Replay, now_ns: int) -> list[bytes]:
        found = self._recall.find(question.run, question.first, question.last, now_ns)
        if found is None:
            return [encoded(Replayed(run=question.run, upto=0, known=False))]
        head = Replayed(
            run=question.run, upto=found.upto, known=found.known, ended=found.ended, then=found.then
        )
        return [encoded(head), *(part for verdict in found.verdicts for part in verdict)]

    def _last(self, name: str, user: str | None) -> ConfirmedLast:
        if not self._may(name, user):
            return ConfirmedLast(known=False)
        assert self._confirmed is not None
        number = self._confirmed[name].number
        return ConfirmedLast(run=self._run if number else "", number=number)

    def _confirm(self, question: Confirm, user: str | None, now_ns: int) -> None:
        if not self._may(question.name, user):
            raise WireError(
                f"a confirmation as {question.name!r}, which is not expected from {user or 'there'}"
            )
        assert self._confirmed is not None
        if question.run != self._run:
            return  # of a run that is over
        last = self._confirmed[question.name]
        number = max(last.number, min(question.number, self._kept.newest(self._run)))
        self._confirmed[question.name] = self._due(
            Confirmation(number=number, at_ns=now_ns, due_ns=last.due_ns)
        )

    def _may(self, name: str, user: str | None) -> bool:
        """Return whether a subscriber may confirm as `name`: a line with keys expects the key of this name."""
        return self._confirmed is not None and name in set(self._confirmed) and user in (None, name)

    def _due(self, last: Confirmation) -> Confirmation:
        """Return the confirmation with the time when the oldest verdict that it leaves out was published."""
        due_ns = self._kept.published_ns(self._run, last.number + 1)
        if due_ns is None and self._kept.newest(self._run) > last.number:
            due_ns = last.due_ns or self._kept.oldest_ns(self._run)  # it is forgotten already
        return Confirmation(number=last.number, at_ns=last.at_ns, due_ns=due_ns or 0)


class Replayer:
    """Answers the questions that come on a ROUTER socket, one after the other.

    A message that is no question is dropped, and counted in the row of the process. An answer that a subscriber
    does not read is dropped too: the subscriber asks again.
    """

    def __init__(
        self, socket: zmq.Socket[bytes], answers: Answers, gate: Gate | None, row: NDArray[Any]
    ) -> None:
        self._socket, self._answers, self._gate, self._row = socket, answers, gate, row
        self._told = False

    def serve(self, timeout_ms: int) -> None:
        """Answer the questions that have come, or some of many. If there are none, wait for one."""
        self._answers.read()
        self._socket.poll(timeout_ms)
        if self._gate:
            self._gate.answer()
        end_ns = time.monotonic_ns() + AT_ONCE_NS
        for _ in range(MOST_AT_ONCE):
            if not self._socket.poll(0) or time.monotonic_ns() > end_ns:
                break
            sender, *parts = self._socket.recv_multipart(copy=False)
            try:
                answer = self._answers.to(_question(parts), _user(parts), time.monotonic_ns())
            except WireError as error:
                self._drop(error)
                continue
            if answer:
                self._socket.send_multipart([sender, *parts[:-1], *answer], zmq.NOBLOCK)

    def _drop(self, error: WireError) -> None:
        self._row["dropped"] += 1
        if not self._told:
            log.warning("dropped a message, and will not log further ones: %s", error)
            self._told = True


def run_replay(liveness: Liveness, replayer: Replayer) -> None:
    """Read what is published and answer questions until the stop signal comes."""
    liveness.ready()
    while not liveness.stopping:
        liveness.beat()
        replayer.serve(READ_MS)


def _question(parts: Sequence[zmq.Frame]) -> bytes:
    """Return the question in a message of one part, which a REQ socket sends after an empty part."""
    if len(parts) == 2 and not parts[0].bytes:
        return parts[1].bytes
    if len(parts) != 1:
        raise WireError(f"a question of {len(parts)} parts")
    return parts[0].bytes


def _user(parts: Sequence[zmq.Frame]) -> str | None:
    """Return the name of the key that the sender has proved to own. None: it came without keys."""
    try:
        return str(parts[-1].get("User-Id")) or None
    except zmq.ZMQError:
        return None
