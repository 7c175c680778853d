"""Sends a command to a running line and returns the line's answer."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import zmq

from ..errors import LineError
from .control import REQUEST_BYTES, SOCKET
from .endpoint import is_heard
from .run_folder import SHARED_MEMORY, base_folder

#: A line that works answers within its next tick, which takes a few hundredths of a second.
PATIENCE_MS = 5000


def ask(line: str, command: str, **keys: Any) -> dict[str, Any]:
    """Have the line carry out a command, and return its answer.

    Raise LineError if the line refuses the command, if it does not run, or if it gives no answer in time.
    """
    path = base_folder() / line / SOCKET
    if not is_heard(str(path)):
        lines = running_lines()
        running = f"running are: {', '.join(lines)}: name one of them, " if lines else "no line runs: "
        raise LineError(
            f"{path}: no line {line!r} of this user listens there; {running}"
            "start the line with edge run RECIPE, or ask as the user who runs it"
        )
    request = msgspec.json.encode({"command": command, **keys})
    if len(request) > REQUEST_BYTES:
        raise LineError(f"the command {command} has {len(request)} bytes, and {REQUEST_BYTES} are allowed")
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{path}")
        socket.send(request)
        if not socket.poll(PATIENCE_MS):
            raise LineError(
                f"{path}: line {line!r} gave no answer within {PATIENCE_MS / 1000:g} s: does it stand still?"
            )
        answer: dict[str, Any] = msgspec.json.decode(socket.recv())
    if "error" in answer:
        raise LineError(f"line {line!r}: {answer['error']}")
    found: dict[str, Any] = answer["answer"]
    return found


def running_lines() -> list[str]:
    """Return the names of the lines that this user runs now, sorted."""
    sockets = base_folder().glob(f"*/{SOCKET}")
    return sorted(path.parent.name for path in sockets if is_heard(str(path)))


def only_line() -> str:
    """Return the name of the line that this user runs. Raise LineError if no line runs, or if several do."""
    lines = running_lines()
    if len(lines) == 1:
        return lines[0]
    if lines:
        raise LineError(f"several lines run: {', '.join(lines)}: choose one with --line")
    base = base_folder()
    folders = (path for path in SHARED_MEMORY.glob("linejudge-*") if path != base)
    users = sorted(user for path in folders if (user := path.name.partition("-")[2]).isdigit())
    others = f", or ask as the user who runs it; users with lines: {', '.join(users)}" if users else ""
    raise LineError(
        f"{base}: user {os.getuid()} runs no line that listens there: start one with edge run RECIPE{others}"
    )
