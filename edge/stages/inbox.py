"""What comes in for a stage: messages of this run about parts as the ledger has them, and nothing else."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Generic, TypeGuard, TypeVar

import zmq

from ..errors import WireError
from ..memory.ledger import Ledger
from ..messages import Input, Message, Refused
from ..wire import unpack

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)


class Inbox(Generic[M]):
    """A stage's socket, on which what is no message for the stage is dropped and counted, and ends nothing.

    Such are bytes of another version or run, messages that `fits` refuses, and those whose part is not the
    ledger's in every field, as those of a process that stood still for long.
    """

    def __init__(
        self, socket: zmq.Socket[bytes], ledger: Ledger, stage: str, fits: Callable[[Message], TypeGuard[M]]
    ) -> None:
        self.socket = socket
        self._ledger, self._stage, self._fits = ledger, stage, fits
        self._row, self._run = ledger.stages[stage], ledger.run
        self._told = False

    def poll(self, timeout_ms: int) -> bool:
        """Whether something has come, waiting for it at most so long."""
        return bool(self.socket.poll(timeout_ms))

    def take(self) -> M | None:
        """What has come, or None where that was dropped; waits where nothing has."""
        try:
            message = unpack(self.socket.recv(), self._run)
        except WireError as error:
            self._drop(str(error))
            return None
        if not self._fits(message):
            self._drop(f"a {type(message).__name__} that is not for this stage")
            return None
        if not self._ledger.holds(message.part):
            self._drop(f"about part {message.part.part_id} otherwise than it was entered")
            return None
        return message

    def _drop(self, what: str) -> None:
        self._row["dropped"] += 1
        if not self._told:
            log.warning("%s: dropped a message, and will others without a word: %s", self._stage, what)
            self._told = True


def are_finite(inputs: Iterable[Input | Refused]) -> bool:
    """Whether each judge's `to_frame` holds numbers only; a judge that was refused has none."""
    places = [one.to_frame for one in inputs if isinstance(one, Input)]
    return all(map(math.isfinite, chain.from_iterable(places)))
