"""Tells systemd the state of the line, in datagrams as sd_notify(3) describes them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

#: How often to feed the watchdog within its timeout, after which it ends the line.
FEEDINGS = 3
#: How long to wait for a service manager whose queue is full.
TIMEOUT_S = 1.0


class Service:
    """Sends states such as `READY=1` to systemd at `address`. If `address` is None, it sends nothing."""

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address

    def notify(self, state: str) -> None:
        """Send a state to systemd. If this fails, ignore the failure, so that it does not stop the line."""
        if self._address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(TIMEOUT_S)
                sender.sendto(state.encode(), self._address)


def feeding_ms(environment: Mapping[str, str]) -> int | None:
    """Return the time between two signs of life to systemd's watchdog, or None if there is no watchdog.

    `environment` has the process's variables, of which WATCHDOG_PID and WATCHDOG_USEC are read.
    """
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return max(1, int(microseconds) // FEEDINGS // 1000) if microseconds.isdecimal() else None
