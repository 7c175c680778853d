"""Notices subscribers that come, a bounded number at a time, so that a crowd of them delays no verdict."""

from __future__ import annotations

import contextlib

import zmq

from ..errors import LineError

#: How often to look for new subscribers.
CHECK_NS = 50_000_000
MOST_AT_ONCE = 1000
#: Topics that the socket may have to keep, some 200 MB.
MOST_TOPICS = 50_000


class Subscribers:
    """Reads what subscribers send on an XPUB socket."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._topics: set[bytes] = set()

    def came(self) -> bool:
        """Return whether a subscriber has come since the last call.

        Raises LineError where more than MOST_TOPICS topics are subscribed to: the socket keeps every topic, and
        only a new process gets rid of them.
        """
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
