"""Decides who may connect to the sockets of a process: only who has proved to own a key that is allowed.

libzmq asks a ZAP handler (rfc.zeromq.org/spec/27) about each connection that uses CURVE, and the connection
waits for the answer. Nothing else waits: libzmq's own thread goes on, so a stage answers when it has time.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import zmq
from zmq.utils import z85

from ..errors import LineError
from ..keys import allowed_keys, line_pair

log = logging.getLogger(__name__)

#: Number of connections to decide about before the stage goes on with its own work.
MOST_AT_ONCE = 50
#: The list of allowed keys is read again when a connection comes, but not more often than this.
READ_NS = 200_000_000
#: No less than any message of the handshake of CURVE has (rfc.zeromq.org/spec/26).
HANDSHAKE_BYTES = 1024
#: Number of parts of a request that uses CURVE: the last one is the key.
_PARTS = 7


class Gate:
    """Lets subscribers in whose public key is in `<folder>/allowed/`. All others are refused.

    A key that is added or removed counts from the next connection on: a connection that was let in stays until
    one of its ends closes it. Raise LineError if the line's own keys or the allowed ones cannot be read.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        self._folder, self._pair = folder, line_pair(folder)
        self._allowed, self._read_ns = allowed_keys(folder), time.monotonic_ns()
        self.refused = 0
        self._requests = context.socket(zmq.REP)
        self._requests.linger = 0
        self._requests.bind("inproc://zeromq.zap.01")

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Make the endpoints that the socket binds from now on ask each subscriber for a key."""
        socket.maxmsgsize = max(socket.maxmsgsize, HANDSHAKE_BYTES)
        # With a limit of 1, libzmq 4.3.5 delivers nothing from a subscriber that waited for this handler.
        socket.rcvhwm = max(socket.rcvhwm, 2)
        socket.curve_server = True
        socket.curve_secretkey = self._pair.secret
        # With a domain, nobody is let in if no handler answers.
        socket.zap_domain = b"linejudge"
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def answer(self) -> None:
        """Decide about the connections that wait, up to MOST_AT_ONCE of them."""
        for _ in range(MOST_AT_ONCE):
            if not self._requests.poll(0):
                return
            parts = self._requests.recv_multipart()
            name = self._name(parts)
            said = (b"200", b"", name.encode()) if name else (b"400", b"not an allowed key", b"")
            self._requests.send_multipart([b"1.0", parts[1] if len(parts) > 1 else b"", *said, b""])

    def _name(self, parts: list[bytes]) -> str:
        """Return the name of the key in a request; empty if it is not allowed."""
        self._read()
        is_curve = len(parts) == _PARTS and parts[0] == b"1.0" and parts[5] == b"CURVE"
        name = self._allowed.get(z85.encode(parts[6]), "") if is_curve and len(parts[6]) == 32 else ""
        if not name:
            self.refused += 1
            if self.refused == 1:
                log.warning("refused a subscriber without an allowed key, and will not log further ones")
        return name

    def _read(self) -> None:
        if (now_ns := time.monotonic_ns()) - self._read_ns < READ_NS:
            return
        self._read_ns = now_ns
        try:
            self._allowed = allowed_keys(self._folder)
        except LineError as error:
            log.error("nobody is let in: %s", error)
            self._allowed = {}
