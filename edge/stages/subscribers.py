"""Notices new subscribers. One check reads a limited number of subscriptions, so that it delays no verdict."""

from __future__ import annotations

import contextlib
from collections import Counter

import zmq

from ..errors import LineError
from ..memory.own import own_memory
from .gate import Gate

#: How often to look for new subscribers.
CHECK_NS = 50_000_000
MOST_AT_ONCE = 1000
#: Number of topics that the socket may have to keep, about 200 MB.
MOST_TOPICS = 50_000
#: Bytes by which the memory of the process may grow. libzmq limits the length of a frame, but not the number of
#: frames of a message, and keeps them until the last one has come.
MOST_GROWN = 1_000_000_000


class Subscribers:
    """Reads the subscriptions that come on an XPUB socket. A gate decides who may connect."""

    def __init__(self, socket: zmq.Socket[bytes], gate: Gate | None = None) -> None:
        self._socket, self._gate = socket, gate
        #: The number of subscriptions at the last call of `came`.
        self.count = 0
        self._topics: Counter[bytes] = Counter()
        self._began_with = own_memory()

    def came(self) -> bool:
        """Return whether a subscriber has come since the last call.

        Raises LineError if subscribers have subscribed to more than MOST_TOPICS topics, or if this process has
        grown by more than MOST_GROWN. Only a new process can free what the socket keeps.
        """
        if self._gate:
            self._gate.answer()
        came = False
        with contextlib.suppress(zmq.Again):
            for _ in range(MOST_AT_ONCE):
                said = self._socket.recv(zmq.NOBLOCK)
                if said.startswith(b"\x01"):
                    came = True
                    self._topics[said[1:]] += 1
                    self.count += 1
                elif said[1:] in self._topics:
                    self._topics[said[1:]] -= 1
                    self.count -= 1
                    if not self._topics[said[1:]]:
                        del self._topics[said[1:]]
        if len(self._topics) > MOST_TOPICS:
            raise LineError(
                f"publish: more than {MOST_TOPICS} topics are subscribed to: see who connects to it"
            )
        if (grown := own_memory() - self._began_with) > MOST_GROWN:
            raise LineError(
                f"publish: its memory has grown by {grown / 1e6:.0f} MB: somebody sends a message without end, "
                "or does not read: see who connects to it"
            )
        return came
