"""Picks a port for a line of a test, which no other program of this machine takes before the line does."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_LOWEST = 10_000
#: Sockets that claim a port for as long as this process lives, so that other processes with tests pick another.
_claims: list[socket.socket] = []


def free_port() -> int:
    """A port of 127.0.0.1 that is free, and below those that the system gives to connections by itself."""
    range_ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    for port in random.SystemRandom().sample(range(_LOWEST, int(range_.split()[0])), 1000):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0linejudge-tests-port-{port}")
            with socket.socket() as tried:
                tried.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
    raise AssertionError("no port is free")
