"""Receives the verdicts, heartbeats and alarms that a line publishes, and checks each message."""

from __future__ import annotations

import contextlib
import errno
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from .endpoints import MOST_PORT, port_of
from .errors import LineError, WireError
from .keys import ClientKeys
from .messages import Broadcast
from .wire import alarm_from, heartbeat_from, verdict_from

#: More than any verdict or heartbeat has.
MESSAGE_BYTES = 65_536
#: How long to wait at a time, so that signals are handled meanwhile.
WAIT_MS = 100
#: A connection that is lost is tried again after RECONNECT_MS. Each further try waits twice as long, up to
#: MOST_RECONNECT_MS. A publish process is replaced in a tenth of a second, so the first tries decide how soon a
#: verdict is heard again; ZeroMQ's default of 100 to 200 ms takes longer than the replacement.
RECONNECT_MS, MOST_RECONNECT_MS = 10, 30
#: What is in the body of a message whose topic begins so; the other topics are those of verdicts.
_READERS: dict[bytes, Callable[[bytes], Broadcast]] = {b"heartbeat": heartbeat_from, b"alarm": alarm_from}


@dataclass(frozen=True)
class Heard:
    """One received message: its topic, its JSON body, and the verdict, heartbeat or alarm in the body."""

    topic: bytes
    body: bytes  # JSON
    message: Broadcast


def heard(parts: Sequence[bytes]) -> Heard:
    """Return what a line sent in these parts of a message. Raise WireError if that is not of this version."""
    if len(parts) != 2:
        raise WireError(f"expected a topic and a body, found {len(parts)} parts")
    topic, body = parts
    read = _READERS.get(topic.partition(b".")[0], verdict_from)
    return Heard(topic, body, read(body))


def connect(socket: zmq.Socket[bytes], endpoint: str, keys: ClientKeys | None) -> None:
    """Connect a socket to an endpoint of a line. Raise LineError if `endpoint` is not a ZeroMQ endpoint."""
    socket.maxmsgsize = MESSAGE_BYTES
    socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_MS, MOST_RECONNECT_MS
    socket.ipv6 = "[" in endpoint
    if keys is not None:
        keys.use(socket)
    try:
        # The system would take the port modulo 65536.
        if (port_of(endpoint) or 0) > MOST_PORT:
            raise zmq.ZMQError(errno.EINVAL)
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        raise LineError(f"{endpoint!r} is no endpoint: {error.strerror}: try tcp://127.0.0.1:5571") from error


def reconnect(socket: zmq.Socket[bytes], endpoint: str, keys: ClientKeys | None) -> None:
    """Close the connection of a socket to an endpoint, and connect again."""
    with contextlib.suppress(zmq.ZMQError):  # it may have been closed by the other end
        socket.disconnect(endpoint)
    connect(socket, endpoint, keys)


class Subscriber:
    """A connection to an endpoint where a line publishes. `__init__` opens it; the end of `with` closes it.

    ZeroMQ reconnects after every interruption. At most `most_waiting` messages are kept until `hear` returns
    them; newer messages are lost. `context` and `socket` let a caller wait for other sockets too. Raise
    LineError if `endpoint` is not a ZeroMQ endpoint.
    """

    def __init__(
        self,
        endpoint: str,
        topics: Sequence[str] = (),
        *,
        keys: ClientKeys | None = None,
        most_waiting: int = 1000,
    ) -> None:
        self._endpoint, self._keys = endpoint, keys
        self.context = zmq.Context()
        self.context.setsockopt(zmq.LINGER, 0)
        # At the interpreter's exit, a context whose socket is still open would wait for ever.
        self._close = weakref.finalize(self, self.context.destroy)
        self.socket = self.context.socket(zmq.SUB)
        self.socket.rcvhwm = most_waiting
        for topic in topics or ("",):
            self.socket.subscribe(topic.encode())
        try:
            connect(self.socket, endpoint, keys)
        except LineError:
            self._close()
            raise

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def wait(self, timeout_ms: int, others: Sequence[int] = ()) -> None:
        """Wait for a message, or until one of the file descriptors in `others` can be read."""
        poller = zmq.Poller()
        for waited_for in (self.socket, *others):
            poller.register(waited_for, zmq.POLLIN)
        poller.poll(timeout_ms)

    def reconnect(self) -> None:
        """Connect anew. libzmq does not try again where a key was refused, though it may be allowed since."""
        reconnect(self.socket, self._endpoint, self._keys)

    def hear(self, timeout_ms: int) -> Heard | None:
        """Return the next message, or None if no message comes within `timeout_ms`.

        Raise LineError if the message is not a verdict, heartbeat or alarm of this version.
        """
        if not self.socket.poll(timeout_ms):
            return None
        try:
            return heard(self.socket.recv_multipart())
        except WireError as error:
            raise LineError(
                f"{self._endpoint}: what comes from there is no verdict of this version: {error}: is it an "
                "endpoint of a line, as its recipe says under [publish]?"
            ) from error
