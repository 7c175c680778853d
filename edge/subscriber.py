"""Receives the verdicts, heartbeats and alarms that a line publishes, and checks each message."""

from __future__ import annotations

import errno
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import zmq

from .errors import LineError, WireError
from .messages import Broadcast
from .recipe import MOST_PORT
from .wire import alarm_from, heartbeat_from, verdict_from

#: More than any verdict or heartbeat has.
MESSAGE_BYTES = 65_536
#: How long to wait at a time, so that signals are handled meanwhile.
WAIT_MS = 100
#: What is in the body of a message whose topic begins so; the other topics are those of verdicts.
_READERS: dict[bytes, Callable[[bytes], Broadcast]] = {b"heartbeat": heartbeat_from, b"alarm": alarm_from}


def subscribe(endpoint: str, *topics: str) -> Iterator[Broadcast]:
    """Return an endless iterator over the verdicts, heartbeats and alarms that a line publishes on `endpoint`.

    If topics are given, only messages whose topic begins with one of them are received. Examples are `reject.`
    and `heartbeat.pcb`. The topic says what to do with a part: a gate must open only for verdicts under
    `accept.<line>`.

    Raise LineError at once if `endpoint` is not a ZeroMQ endpoint. The iterator raises LineError if a message
    is not a verdict, heartbeat or alarm of this version.
    """
    return _messages(Subscriber(endpoint, topics))


def _messages(subscriber: Subscriber) -> Iterator[Broadcast]:
    with subscriber:
        while True:
            if (heard := subscriber.hear(WAIT_MS)) is not None:
                yield heard.message


@dataclass(frozen=True)
class Heard:
    """One received message: its topic, its JSON body, and the verdict, heartbeat or alarm in the body."""

    topic: bytes
    body: bytes  # JSON
    message: Broadcast


class Subscriber:
    """A connection to an endpoint where a line publishes. `__init__` opens it; the end of `with` closes it.

    ZeroMQ reconnects after every interruption. At most `most_waiting` messages are kept until `hear` returns
    them; newer messages are lost. Raise LineError if `endpoint` is not a ZeroMQ endpoint.
    """

    def __init__(
        self, endpoint: str, topics: Sequence[str] = (), *, most_waiting: int = 1000, reconnect_ms: int = 100
    ) -> None:
        self._endpoint = endpoint
        self._context = zmq.Context()
        self._context.setsockopt(zmq.LINGER, 0)
        # At the interpreter's exit, a context whose socket is still open would wait for ever.
        self._close = weakref.finalize(self, self._context.destroy)
        self._socket = self._context.socket(zmq.SUB)
        self._socket.rcvhwm, self._socket.reconnect_ivl = most_waiting, reconnect_ms
        self._socket.maxmsgsize = MESSAGE_BYTES
        self._socket.ipv6 = "[" in endpoint
        for topic in topics or ("",):
            self._socket.subscribe(topic.encode())
        try:
            port = re.fullmatch(r"tcp://.*:(\d+)", endpoint)
            # The system would take the port modulo 65536.
            if port and int(port[1]) > MOST_PORT:
                raise zmq.ZMQError(errno.EINVAL)
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._close()
            raise LineError(
                f"{endpoint!r} is no endpoint: {error.strerror}: try tcp://127.0.0.1:5571"
            ) from error

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def wait(self, timeout_ms: int, others: Sequence[int] = ()) -> None:
        """Wait for a message, or until one of the file descriptors in `others` can be read."""
        poller = zmq.Poller()
        for waited_for in (self._socket, *others):
            poller.register(waited_for, zmq.POLLIN)
        poller.poll(timeout_ms)

    def hear(self, timeout_ms: int) -> Heard | None:
        """Return the next message, or None if no message comes within `timeout_ms`.

        Raise LineError if the message is not a verdict, heartbeat or alarm of this version.
        """
        if not self._socket.poll(timeout_ms):
            return None
        parts = self._socket.recv_multipart()
        try:
            if len(parts) != 2:
                raise WireError(f"expected a topic and a body, found {len(parts)} parts")
            topic, body = parts
            read = _READERS.get(topic.partition(b".")[0], verdict_from)
            return Heard(topic, body, read(body))
        except WireError as error:
            raise LineError(
                f"{self._endpoint}: what comes from there is no verdict of this version: {error}: is it an "
                "endpoint of a line, as its recipe says under [publish]?"
            ) from error
