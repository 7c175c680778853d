"""Opens the sockets of a stage: its own inbox, connections to other inboxes, and the socket for subscribers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import zmq

from ..errors import LineError
from ..memory.ledger import ROWS
from ..messages import Notice, Sent
from ..wire import pack

log = logging.getLogger(__name__)

#: A socket that is closed tries this long to send its last messages. Their receiver may have ended.
LINGER_MS = 200
#: Number of messages that are kept for a slow subscriber, about 10 MB.
PUBLISH_HWM = 10_000
#: How soon a stage connects again to one that was restarted; ZeroMQ's own 100 ms would delay the first parts.
RECONNECT_MS = 5
#: Limit for a message between stages. All of them are shorter.
MESSAGE_BYTES = 65_536
#: Number of subscriptions that libzmq reads at once from a subscriber. It reads them before it sends.
SUBSCRIPTIONS_HWM = 1
#: Limit for a subscription, and for a property that a subscriber sends when it connects.
TOPIC_BYTES = 64
#: A connection that has not shown within this time that it is a subscriber is closed.
HANDSHAKE_MS = 2000


class Sockets:
    """Opens sockets in a run's folder. Messages carry the run's number `run`. The end of `with` closes them."""

    def __init__(self, folder: Path, run: bytes) -> None:
        self._folder, self._run = folder, run
        self._context = zmq.Context()
        # On the context, this setting also holds for sockets that are closed before the context.
        self._context.setsockopt(zmq.LINGER, LINGER_MS)

    def __enter__(self) -> Sockets:
        return self

    def __exit__(self, *error: object) -> None:
        self._context.destroy()

    def inbox(self, stage: str) -> zmq.Socket[bytes]:
        """Return the socket on which `stage` receives. The queue has room for a message per ledger row."""
        socket = self._context.socket(zmq.PULL)
        socket.set_hwm(ROWS)
        socket.maxmsgsize = MESSAGE_BYTES
        socket.bind(f"ipc://{self._folder}/{stage}.ipc")
        return socket

    def publisher(self, endpoints: tuple[str, ...]) -> zmq.Socket[bytes]:
        """Return the XPUB socket on which verdicts are published. It also reports each new subscriber.

        A subscriber that is PUBLISH_HWM messages behind loses the newest messages. Raises LineError if an
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

    def listener(self, endpoint: str, topics: Sequence[str]) -> zmq.Socket[bytes]:
        """Return the SUB socket on which a process hears what the line publishes under some topics."""
        found = self._context.socket(zmq.SUB)
        found.maxmsgsize, found.reconnect_ivl = MESSAGE_BYTES, 10
        for topic in topics:
            found.subscribe(topic)
        found.connect(endpoint)
        return found

    def to(self, stage: str) -> Callable[[Sent], None]:
        """Return a function that sends a message to `stage` without waiting.

        If the inbox of `stage` is full, the message is lost, and its part gets the verdict `late`.
        """
        socket = self._context.socket(zmq.PUSH)
        socket.set_hwm(ROWS)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.connect(f"ipc://{self._folder}/{stage}.ipc")

        def send(message: Sent) -> None:
            try:
                socket.send(pack(message, self._run), zmq.NOBLOCK)
            except zmq.Again:
                what = "a notice" if isinstance(message, Notice) else f"part {message.part.part_id}"
                log.error("%s: the inbox of %s is full", what, stage)

        return send
