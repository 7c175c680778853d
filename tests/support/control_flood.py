"""Clients that fill up a line's control socket: `python control_flood.py KIND PATH`, until it is ended."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from floods import GREETING

#: What a DEALER says after its greeting, by ZMTP 3.0 (rfc.zeromq.org/spec/23).
READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
#: A frame after which another one follows.
MORE = b"\x01\x28" + b"." * 40
REQUEST = b'{"command": "alarms"}'
WHOLE = b"\x01\x00" + bytes((0, len(REQUEST))) + REQUEST
#: What each kind of client sends again and again, reading nothing.
KINDS = {"unfinished": MORE * 1000, "deaf": WHOLE * 1000}


#: A client rests after so many times, so that a line that keeps all of it does not take the whole memory.
MOST = 20_000


def flood(kind: str, path: str) -> None:
    sent = 0
    while sent < MOST:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as opened:
            opened.settimeout(1)  # the other side reads no more: connect again
            opened.connect(path)
            opened.sendall(GREETING + READY)
            while sent < MOST:
                opened.sendall(KINDS[kind])
                sent += 1
            time.sleep(3600)
        time.sleep(0.01)


@contextlib.contextmanager
def flooding_control(kind: str, path: Path) -> Iterator[None]:
    """Have a client flood the control socket at `path`, as a process of its own, while in the block."""
    with subprocess.Popen([sys.executable, __file__, kind, str(path)]) as process:
        try:
            yield
            assert process.poll() is None, f"{kind} ended"
        finally:
            process.kill()


if __name__ == "__main__":
    flood(sys.argv[1], sys.argv[2])
