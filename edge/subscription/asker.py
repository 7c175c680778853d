"""Asks a line's replay socket for verdicts, and confirms to it what was handled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import zmq

from ..errors import LineError, WireError
from ..keys import ClientKeys
from ..messages import Verdict
from ..subscriber import Heard, connect, heard, reconnect
from .order import Place, Wanted
from .protocol import Answer, Confirm, Question, Replay, Which, answer_from, encoded


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An answer of the replay socket, with the verdicts that came with it."""

    head: Answer
    verdicts: tuple[Heard, ...]


class Asker:
    """A connection to the replay socket `endpoint` of a line. A caller can wait for `socket`."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, keys: ClientKeys | None) -> None:
        self._endpoint, self._keys = endpoint, keys
        self.socket = context.socket(zmq.DEALER)
        # Questions are kept for no process that is not there: they are asked again.
        self.socket.immediate = True
        connect(self.socket, endpoint, keys)

    def reconnect(self) -> None:
        """Connect anew."""
        reconnect(self.socket, self._endpoint, self._keys)

    def ask(self, wanted: Wanted) -> None:
        """Ask for a range of verdicts."""
        self._send(Replay(run=wanted.run, first=wanted.first, last=wanted.last))

    def ask_place(self, name: str) -> None:
        """Ask for the place that the subscriber `name` confirmed last."""
        self._send(Which(name=name))

    def confirm(self, name: str, place: Place) -> None:
        """Say that the subscriber `name` has handled all verdicts up to a place."""
        self._send(Confirm(name=name, run=place.run, number=place.number))

    def _send(self, question: Question) -> None:
        try:
            self.socket.send(encoded(question), zmq.NOBLOCK)
        except zmq.Again:
            return

    def answers(self) -> Iterator[Answered]:
        """Yield the answers that have come. Raise LineError if something else than a replay socket answers."""
        while self.socket.poll(0):
            head, *parts = self.socket.recv_multipart()
            try:
                pairs = zip(parts[::2], parts[1::2], strict=True)
                verdicts = tuple(heard(pair) for pair in pairs)
                if not all(isinstance(one.message, Verdict) for one in verdicts):
                    raise WireError("an answer with a message that is no verdict")
                yield Answered(head=answer_from(head), verdicts=verdicts)
            except (WireError, ValueError) as error:
                raise LineError(
                    f"{self._endpoint}: what comes from there is no answer of this version: {error}: is it the "
                    "replay endpoint of a line, as its recipe says under [publish]?"
                ) from error
