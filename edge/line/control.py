"""Answers the requests that people and programs send to a running line, on a socket of its user alone.

A request is a JSON object `{"command": NAME, ...}`. The answer is `{"answer": {...}}` or `{"error": TEXT}`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import zmq

from ..errors import EdgeError, LineError
from ..memory.own import STATM, give_back, own_memory
from ..text import fitted

log = logging.getLogger(__name__)

#: File name of the socket, in the line's folder.
SOCKET = "control.ipc"
#: Limit for a request. A longer one is not read.
REQUEST_BYTES = 65_536
#: Bytes of the text of an error, at most.
ERROR_BYTES = 1000
#: Most requests to answer, and most time to take for them, before the supervisor checks the stages again.
MOST_AT_ONCE, MOST_NS = 20, 20_000_000
#: Number of requests and answers that are kept for one client. Further answers to it are lost. With 10, libzmq
#: took the queue of a client that waits for each answer for full, and lost 1 answer in 100.
MOST_WAITING = 100
#: A connection that has not shown within this time that it is a client is closed.
HANDSHAKE_MS = 2000
#: Bytes by which the memory of the process may grow. libzmq limits the messages of each client, but neither the
#: number of clients, nor the frames of a message, which it keeps until the last one has come.
MOST_GROWN = 50_000_000

#: Carries out a command, and returns the answer. It gets the keys of the request other than `command`.
#: It raises an EdgeError if it cannot, and msgspec.ValidationError if a key is wrong.
Command = Callable[[dict[str, Any]], Mapping[str, Any]]


class NoKeys(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of a request that has none but its command."""


class Control:
    """The ROUTER socket at `path`, mode 0600. `answer` never waits. The end of `with` removes the socket.

    If clients fill up the memory, the socket is made anew, which frees what it held and closes its connections.
    """

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self._path, self._commands = path, commands
        self._socket: zmq.Socket[bytes] | None = None
        self._is_told, self._problem = False, ""
        #: Number of messages that were no request and got no answer, and of sockets that clients filled up.
        self.dropped = 0

    def __enter__(self) -> Control:
        self._statm = open(STATM, "rb", buffering=0)
        try:
            self._open()
        except (zmq.ZMQError, OSError) as error:
            self._statm.close()
            raise LineError(f"{self._path}: cannot make the control socket: {error.strerror}") from error
        return self

    def __exit__(self, *error: object) -> None:
        self._context.destroy()
        self._statm.close()
        self._path.unlink(missing_ok=True)

    def _open(self) -> None:
        self._context, self._began_with = zmq.Context(), own_memory(self._statm.fileno())
        self._context.setsockopt(zmq.LINGER, 0)
        try:
            socket = self._context.socket(zmq.ROUTER)
            socket.set_hwm(MOST_WAITING)
            socket.maxmsgsize = REQUEST_BYTES
            socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
            socket.bind(f"ipc://{self._path}")
            # Nobody else can connect before this, because the folder is the user's alone.
            self._path.chmod(0o600)
        except (zmq.ZMQError, OSError):
            self._context.destroy()
            raise
        self._socket = socket

    def _free_memory(self) -> None:
        """Make the socket anew if the process has grown too much, or if that failed before."""
        grown = own_memory(self._statm.fileno()) - self._began_with
        if self._socket and grown <= MOST_GROWN:
            return
        if self._socket:
            self.dropped += 1
            # The memory of an unfinished message is not freed before the context has ended.
            self._context.destroy()
            self._socket = None
            give_back()
        try:
            self._open()
        except (zmq.ZMQError, OSError) as error:
            # It is tried again at each tick.
            if error.strerror != self._problem:
                log.error("%s: cannot make the control socket again: %s", self._path, error.strerror)
            self._problem = str(error.strerror)
        if not self._is_told:
            self._is_told = True
            log.warning(
                "the line's memory had grown by %.0f MB, and the control socket was made anew: see who sends "
                "requests without end or reads no answers; this is not logged again",
                grown / 1e6,
            )

    def answer(self) -> None:
        """Answer the requests that have come, MOST_AT_ONCE at most and for MOST_NS."""
        self._free_memory()
        end_ns = time.monotonic_ns() + MOST_NS
        for _ in range(MOST_AT_ONCE):
            if self._socket is None or time.monotonic_ns() >= end_ns:
                return
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # A REQ socket sends an empty frame between its own number and the request.
            if len(frames) != 3 or frames[1]:
                self.dropped += 1
                continue
            try:
                self._socket.send_multipart([*frames[:2], answer_to(frames[2], self._commands)], zmq.NOBLOCK)
            except zmq.Again:
                self.dropped += 1


def answer_to(request: bytes, commands: Mapping[str, Command]) -> bytes:
    """Carry out a request and return the answer, both as JSON. If it cannot, the answer says why as `error`."""
    try:
        asked = msgspec.json.decode(request, type=dict[str, Any])
        name = asked.pop("command", None)
        command = commands.get(name) if isinstance(name, str) else None
        if command is None:
            raise LineError(f"command: expected one of {', '.join(commands)}, found {str(name)[:40]!r}")
        return msgspec.json.encode({"answer": command(asked)})
    except RecursionError:
        said = "the request is nested too deeply"
    except msgspec.MsgspecError as error:
        said = f"not a request: {error}"
    except (EdgeError, OSError) as error:
        said = str(error)
    return msgspec.json.encode({"error": fitted(said, ERROR_BYTES)})
