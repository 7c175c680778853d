"""Receives a process's messages, and drops messages of another run or about parts not in the ledger."""

from __future__ import annotations

import logging
import select
from collections.abc import Callable, Mapping
from typing import Generic, TypeGuard, TypeVar

import zmq

from ..errors import WireError
from ..memory.ledger import Ledger
from ..memory.stages import Stages
from ..messages import Health, Input, Notice, Part, Prediction, Sent, Tensor, Unknown
from ..wire import unpack

log = logging.getLogger(__name__)

#: Largest number in a transform from a model's input to the frame: more than a frame has pixels.
MOST_PX = 1e6
#: Least area in the frame, in pixels, of a pixel of a model's input: less than that of any crop.
LEAST_PX = 1e-7

M = TypeVar("M", bound=Sent)


class Inbox(Generic[M]):
    """The socket on which a process receives messages. It drops and counts messages that are not for it.

    It drops messages of another version or run, messages for which `fits` returns False, and messages whose
    part differs in any field from the part in the ledger of its camera. A process that was paused for a long
    time can send a message about such a part. `name` is the name of the process. Calls `took` with the part of
    each message that it takes.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        ledgers: Mapping[str, Ledger],
        stages: Stages,
        name: str,
        fits: Callable[[Sent], TypeGuard[M]],
        took: Callable[[Part], None] = lambda part: None,
    ) -> None:
        self.socket = socket
        self._ledgers, self._name, self._fits = ledgers, name, fits
        self._took = took
        self._row, self._run = stages[name], stages.run
        self._told = False

    def poll(self, timeout_ms: int) -> bool:
        """Wait for a message for at most `timeout_ms`, and return whether a message is there."""
        is_there = bool(int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
        return is_there or (timeout_ms > 0 and bool(self.socket.poll(timeout_ms)))

    def wait(self, timeout_s: float) -> None:
        """Wait for a message, to the microsecond, for at most `timeout_s`. It may also return without one."""
        # The socket's descriptor tells only of changes since the socket was asked last.
        if not self.poll(0):
            select.select([self.socket.FD], (), (), timeout_s)

    def take(self) -> M | None:
        """Wait for the next message and return it. Return None if the message was dropped."""
        try:
            message = unpack(self.socket.recv(), self._run)
        except WireError as error:
            self._drop(str(error))
            return None
        if not self._fits(message):
            self._drop(f"a {type(message).__name__} that is not for this process")
            return None
        part = None if isinstance(message, Notice) else message.part
        if part is not None and not (part.camera in self._ledgers and self._ledgers[part.camera].holds(part)):
            self._drop(f"its part {part.part_id} differs from the part in the ledger")
            return None
        if part is not None:
            self._took(part)
        return message

    def _drop(self, what: str) -> None:
        self._row["dropped"] += 1
        if not self._told:
            log.warning("%s: dropped a message, and will not log further ones: %s", self._name, what)
            self._told = True


def is_sound(message: Tensor | Prediction | Unknown) -> bool:
    """Return whether all numbers that a message says of a picture are finite and can be of a frame.

    JSON has no word for others, and no part may be too small in the frame for its defects to count: each input
    that was not refused neither vanishes in the frame nor is turned over, and no number is above MOST_PX.
    """
    numbers = [] if message.health is None else _numbers_of(message.health)
    for one in message.inputs if not isinstance(message, Unknown) else ():
        if isinstance(one, Input):
            a, b, _, d, e, _ = one.to_frame
            # NaN fails each comparison.
            if not a * e - b * d >= LEAST_PX:
                return False
            numbers += [*one.to_frame, one.registration_px or 0.0, *(one.pose or ())]
    return all(abs(number) <= MOST_PX for number in numbers)


def _numbers_of(health: Health) -> list[float]:
    shift = health.shift_px or (0.0, 0.0)
    return [health.level, health.saturated, health.focus, health.repeats, *shift, health.rotation_deg or 0.0]
