"""Opens the sockets of a stage: its own inbox, connections to other inboxes, and the socket for subscribers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import zmq

from ..endpoints import is_tcp
from ..errors import LineError
from ..memory.ledger import ROWS
from ..messages import Notice, Sent
from ..subscription.protocol import QUESTION_BYTES
from ..wire import pack
from .gate import Gate

log = logging.getLogger(__name__)

#: A socket that is closed tries this long to send its last messages. Their receiver may have ended.
LINGER_MS = 200
#: Number of messages that are kept for a slow subscriber: about 8 MB, at most 40 MB.
PUBLISH_HWM = 5_000
#: How soon a stage connects again to one that was restarted; ZeroMQ's own 100 ms would delay the first parts.
RECONNECT_MS = 5
#: Number of answers that are kept for a subscriber that does not read them, and of its questions.
#: Each connection has queues of its own, so many subscribers that ask at once take nothing from each other.
REPLAY_HWM = 2
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

    def gate(self, folder: Path) -> Gate:
        """Return what decides, for all sockets opened here, who may connect. `folder` holds the keys."""
        return Gate(self._context, folder)

    def publisher(self, endpoints: tuple[str, ...], gate: Gate | None = None) -> zmq.Socket[bytes]:
        """Return the XPUB socket on which verdicts are published. It also reports each new subscriber.

        A subscriber that is PUBLISH_HWM messages behind loses the newest messages. If there is a gate, it
        decides who may connect to TCP ports. Raises LineError if an endpoint cannot be bound.
        """
        found = self._context.socket(zmq.XPUB)
        found.set_hwm(PUBLISH_HWM)
        found.rcvhwm = SUBSCRIPTIONS_HWM
        found.maxmsgsize = TOPIC_BYTES
        found.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        # All subscriptions are reported, and their ends, so that they can be counted.
        found.setsockopt(zmq.XPUB_VERBOSER, 1)
        _bind(found, "publish.endpoints", endpoints, gate)
        return found

    def replier(self, endpoint: str, gate: Gate | None) -> zmq.Socket[bytes]:
        """Return the ROUTER socket on which subscribers ask for verdicts that they missed.

        An answer to a subscriber that does not read is dropped. If there is a gate, it decides who may connect
        to a TCP port. Raises LineError if the endpoint cannot be bound.
        """
        found = self._context.socket(zmq.ROUTER)
        found.set_hwm(REPLAY_HWM)
        found.maxmsgsize = QUESTION_BYTES
        found.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        _bind(found, "publish.replay", (endpoint,), gate)
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


def _bind(socket: zmq.Socket[bytes], key: str, endpoints: tuple[str, ...], gate: Gate | None) -> None:
    """Bind the endpoints that the recipe's key `key` names. Raises LineError if that is not possible."""
    # What is set on a socket holds for the endpoints that it binds afterwards.
    for endpoint in sorted(endpoints, key=is_tcp):
        if gate and is_tcp(endpoint):
            gate.guard(socket)
        socket.ipv6 = "[" in endpoint
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise LineError(
                f"{key}: cannot bind {endpoint}: {error.strerror}: give the line an endpoint of its own"
            ) from error
