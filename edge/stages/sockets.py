"""Opens the sockets of a stage: its inbox, those to other stages' inboxes, and the one for subscribers."""

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

#: How long a closing socket tries to send its last messages; the receiver may be gone for good.
LINGER_MS = 200
#: Messages kept for a slow subscriber, some 10 MB.
PUBLISH_HWM = 10_000
#: More than any message between stages has.
MESSAGE_BYTES = 65_536
#: Subscriptions that libzmq reads at once from one subscriber; before it sends, it reads all that are there.
SUBSCRIPTIONS_HWM = 1
#: Longest subscription, and longest property that a subscriber may send when it connects.
TOPIC_BYTES = 64
#: Time in which whoever connects must prove to be a subscriber.
HANDSHAKE_MS = 2000


class Sockets:
    """Opens sockets in the folder of a run, whose number `run` each message carries; `with` closes them."""

    def __init__(self, folder: Path, run: bytes) -> None:
        self._folder, self._run = folder, run
        self._context = zmq.Context()
        # Set on the context, this holds for sockets that are closed before it, too.
        self._context.setsockopt(zmq.LINGER, LINGER_MS)

    def __enter__(self) -> Sockets:
        return self

    def __exit__(self, *error: object) -> None:
        self._context.destroy()

    def inbox(self, stage: str) -> zmq.Socket[bytes]:
        """Return the socket on which `stage` receives; it keeps as many messages as the ledger has rows."""
        socket = self._context.socket(zmq.PULL)
        socket.set_hwm(ROWS)
        socket.maxmsgsize = MESSAGE_BYTES
        socket.bind(f"ipc://{self._folder}/{stage}.ipc")
        return socket

    def publisher(self, endpoints: tuple[str, ...]) -> zmq.Socket[bytes]:
        """Return the socket on which verdicts are published: an XPUB, which reports each new subscriber.

        A subscriber that falls PUBLISH_HWM messages behind loses the newest ones. Raises LineError where an
        endpoint cannot be bound.
        """
        found = self._context.socket(zmq.XPUB)
        found.set_hwm(PUBLISH_HWM)
        found.rcvhwm = SUBSCRIPTIONS_HWM
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
        """Return a function that sends to `stage` at once, without waiting; an unsent part becomes `late`."""
        socket = self._context.socket(zmq.PUSH)
        socket.set_hwm(ROWS)
        socket.connect(f"ipc://{self._folder}/{stage}.ipc")

        def send(message: Message) -> None:
            try:
                socket.send(pack(message, self._run), zmq.NOBLOCK)
            except zmq.Again:
                log.error("part %s: the inbox of %s is full", message.part.part_id, stage)

        return send
