"""Tells from a ZeroMQ endpoint, such as `tcp://127.0.0.1:5571`, whether it exists and who can reach it."""

from __future__ import annotations

import re

MOST_PORT = 65_535
_TCP = re.compile(r"tcp://(?P<host>\[[^\]\s]+\]|[^\s:/\[\]]+):(?P<port>\d+|\*)")
_LOOPBACK = re.compile(r"127\.\d+\.\d+\.\d+|localhost|\[::1\]")


def is_endpoint(endpoint: str) -> bool:
    """Return whether the text is `ipc://<path>` or `tcp://<host>:<port>`; the port may be `*`."""
    return bool(re.fullmatch(r"ipc://\S.*", endpoint) or _TCP.fullmatch(endpoint))


def is_tcp(endpoint: str) -> bool:
    """Return whether a TCP port belongs to the endpoint, so that any user of the machine can reach it."""
    return endpoint.startswith("tcp://")


def is_open(endpoint: str) -> bool:
    """Return whether other machines can reach the endpoint: a TCP port that is not on the loopback."""
    found = _TCP.fullmatch(endpoint)
    return bool(found and not _LOOPBACK.fullmatch(found["host"]))


def port_of(endpoint: str) -> int | None:
    """Return the port that a TCP endpoint names, even one that is too high. None if it names none."""
    found = _TCP.fullmatch(endpoint)
    return int(found["port"]) if found and found["port"] != "*" else None
