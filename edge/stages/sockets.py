"""The sockets of one stage: an inbox, ways to other stages' inboxes, and the socket for subscribers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import zmq

from ..errors import LineError
from ..memory.ledger import ROWS
from ..messages import Message
from ..wire import pack

log = logging.getLogger(__name__)

LINGER_MS = 200  # for what was sent last; a receiver may be gone for good
PUBLISH_HWM = 10_000  # messages kept for a slow subscriber, some 10 MB
MESSAGE_BYTES = 65_536  # more than any message between stages has
HEEDED_HWM = 1  # subscriptions of one subscriber that libzmq reads at once, and every one before it sends
TOPIC_BYTES = 64  # of a subscription, and of what a subscriber says of itself when it connects
HANDSHAKE_MS = 2000  # for a subscriber to say that it is one


class Sockets:
    """The sockets of one stage: its inbox, and a way to each other stage's inbox."""

    def __init__(self, folder: Path, run: bytes) -> None:
        self._folder, self._run = folder, run
        self._context = zmq.Context()
        self._context.setsockopt(zmq.LINGER, LINGER_MS)  # for sockets that are closed before it, too

    def __enter__(self) -> Sockets:
        return self

    def __exit__(self, *error: object) -> None:
        self._context.destroy()

    def inbox(self, stage: str) -> zmq.Socket[bytes]:
        """The socket on which `stage` receives; bounded by the rows of the ledger."""
        socket = self._context.socket(zmq.PULL)
        socket.set_hwm(ROWS)
        socket.maxmsgsize = MESSAGE_BYTES
        socket.bind(f"ipc://{self._folder}/{stage}.ipc")
        return socket

    def publisher(self, endpoints: tuple[str, ...]) -> zmq.Socket[bytes]:
        """The socket on which verdicts go out: a PUB that tells of each subscriber that comes.

        A subscriber that falls PUBLISH_HWM messages behind loses the newest ones.
        """
        found = self._context.socket(zmq.XPUB)
        found.set_hwm(PUBLISH_HWM)
        found.rcvhwm = HEEDED_HWM
        found.maxmsgsize = TOPIC_BYTES
        found.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        found.setsockopt(zmq.XPUB_VERBOSE, 1)
        for endpoint in endpoints:
            found.ipv6 = "[" in endpoint
            try:
                found.bind(endpoint)
            except zmq.ZMQError as error:
                raise LineError(
                    f"publish.endpoints: cannot bind {endpoint}: {error.strerror}: "
                    "give the line an endpoint of its own"
                ) from error
        return found

    def to(self, stage: str) -> Callable[[Message], None]:
        """A function that sends to `stage`; it never waits: a part it cannot send turns `late`."""
        socket = self._context.socket(zmq.PUSH)
        socket.set_hwm(ROWS)
        socket.connect(f"ipc://{self._folder}/{stage}.ipc")

        def send(message: Message) -> None:
            try:
                socket.send(pack(message, self._run), zmq.NOBLOCK)
            except zmq.Again:
                log.error("part %s: %s takes no more messages", message.part.part_id, stage)

        return send
