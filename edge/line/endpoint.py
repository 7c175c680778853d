"""Reserves an `ipc://` endpoint for one process. ZeroMQ alone would let a second process take it over."""

from __future__ import annotations

import fcntl
import os
import socket

from ..errors import LineError


def claim(endpoint: str, key: str = "publish.endpoints") -> None:
    """Reserve an `ipc://` endpoint for this process until it ends, by locking a file beside the socket.

    If the process that made the lock has ended, this process takes the lock over. Raises LineError if a running
    process has the endpoint; the error names the recipe's `key`. Does nothing for endpoints of other kinds,
    because the system reserves those.
    """
    path = endpoint.removeprefix("ipc://")
    if path == endpoint:
        return
    if not path.startswith("@"):
        _lock(endpoint, path, key)
    if is_heard(path):
        raise LineError(
            f"{key}: another process listens on {endpoint}: stop it, or give the line an endpoint of its own"
        )


def _lock(endpoint: str, path: str, key: str) -> None:
    try:
        opened = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LineError(
            f"{key}: {endpoint}: cannot make {path}.lock: {error.strerror}: "
            "make its folder, and let the line's user write there"
        ) from error
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(opened, 20, 0).decode(errors="replace").strip()
        os.close(opened)
        raise LineError(
            f"{key}: {endpoint} belongs to process {owner or 'unknown'}, which is running: "
            "stop it, or give the line an endpoint of its own"
        ) from error
    os.ftruncate(opened, 0)
    os.pwrite(opened, str(os.getpid()).encode(), 0)


def is_heard(path: str) -> bool:
    """Return whether any process listens on the socket at `path`."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(1)
        try:
            caller.connect("\0" + path[1:] if path.startswith("@") else path)
        except OSError:
            return False
    return True
