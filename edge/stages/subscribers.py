"""Notices new subscribers. One check reads a limited number of subscriptions, so that it delays no verdict."""

from __future__ import annotations

import contextlib

import zmq

from ..errors import LineError
from .gate import Gate

#: How often to look for new subscribers.
CHECK_NS = 50_000_000
MOST_AT_ONCE = 1000
#: Number of topics that the socket may have to keep, about 200 MB.
MOST_TOPICS = 50_000


class Subscribers:
    """Reads the subscriptions that come on an XPUB socket. A gate decides who may connect."""

    def __init__(self, socket: zmq.Socket[bytes], gate: Gate | None = None) -> None:
        self._socket, self._gate = socket, gate
        self._topics: set[bytes] = set()

    def came(self) -> bool:
        """Return whether a subscriber has come since the last call.

        Raises LineError if subscribers have subscribed to more than MOST_TOPICS topics. The socket keeps each
        topic in memory, and only a new process can free that memory.
        """
        if self._gate:
            self._gate.answer()
        came = False
        with contextlib.suppress(zmq.Again):
            for _ in range(MOST_AT_ONCE):
                said = self._socket.recv(zmq.NOBLOCK)
                if said.startswith(b"\x01"):
                    came = True
                    self._topics.add(said[1:])
                else:
                    self._topics.discard(said[1:])
        if len(self._topics) > MOST_TOPICS:
            raise LineError(
                f"publish: more than {MOST_TOPICS} topics are subscribed to: see who connects to it"
            )
        return came
