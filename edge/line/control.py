"""Answers the requests that people and programs send to a running line, on a socket of its user alone.

A request is a JSON object `{"command": NAME, ...}`. The answer is `{"answer": {...}}` or `{"error": TEXT}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import zmq

from ..errors import EdgeError, LineError
from ..text import fitted

#: File name of the socket, in the line's folder.
SOCKET = "control.ipc"
#: Limit for a request. A longer one is not read.
REQUEST_BYTES = 65_536
#: Bytes of the text of an error, at most.
ERROR_BYTES = 1000
#: Most requests to answer before the supervisor checks the stages again.
MOST_AT_ONCE = 20
#: Number of requests and answers that are kept for one client. Further answers to it are lost. With 10, libzmq
#: took the queue of a client that waits for each answer for full, and lost 1 answer in 100.
MOST_WAITING = 100
#: A connection that has not shown within this time that it is a client is closed.
HANDSHAKE_MS = 2000

#: Carries out a command, and returns the answer. It gets the keys of the request other than `command`.
#: It raises an EdgeError if it cannot, and msgspec.ValidationError if a key is wrong.
Command = Callable[[dict[str, Any]], Mapping[str, Any]]


class NoKeys(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of a request that has none but its command."""


class Control:
    """The ROUTER socket at `path`, mode 0600. `answer` never waits. The end of `with` removes the socket."""

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self._path, self._commands = path, commands
        #: Number of messages that were no request, and got no answer.
        self.dropped = 0

    def __enter__(self) -> Control:
        self._context = zmq.Context()
        self._context.setsockopt(zmq.LINGER, 0)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.set_hwm(MOST_WAITING)
        self._socket.maxmsgsize = REQUEST_BYTES
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        try:
            self._socket.bind(f"ipc://{self._path}")
            # Nobody else can connect before this, because the folder is the user's alone.
            self._path.chmod(0o600)
        except (zmq.ZMQError, OSError) as error:
            self._context.destroy()
            raise LineError(f"{self._path}: cannot make the control socket: {error.strerror}") from error
        return self

    def __exit__(self, *error: object) -> None:
        self._context.destroy()
        self._path.unlink(missing_ok=True)

    def answer(self) -> None:
        """Answer the requests that have come, MOST_AT_ONCE at most."""
        for _ in range(MOST_AT_ONCE):
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
