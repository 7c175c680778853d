"""Who comes to hear the verdicts, looked at a few at a time: a crowd of them holds up no verdict."""

from __future__ import annotations

import contextlib

import zmq

from ..errors import LineError

HEED_NS = 50_000_000  # how often to look
MOST_AT_ONCE = 1000
MOST_TOPICS = 50_000  # some 200 MB


class Subscribers:
    """What subscribers say on an XPUB socket."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._topics: set[bytes] = set()

    def came(self) -> bool:
        """Whether a subscriber has come since the last time.

        Raises LineError where there are more topics than any crowd of subscribers has: the socket keeps them,
        and only a new one is rid of them.
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
