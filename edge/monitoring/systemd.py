"""Tells systemd how the line is, by datagrams as sd_notify(3) describes them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

FEEDINGS = 3  # of the watchdog in the time after which it ends the line
PATIENCE_S = 1.0  # with a service manager whose queue is full


class Service:
    """`notify("READY=1")` and the like; does nothing where no address is given."""

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address

    def notify(self, state: str) -> None:
        """Send a state; a service manager that does not listen is no reason to stop a line."""
        if self._address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(PATIENCE_S)
                sender.sendto(state.encode(), self._address)


def feeding_ms(environment: Mapping[str, str]) -> int | None:
    """How often to feed the service manager's watchdog, by sd_watchdog_enabled(3); None where there is none."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return max(1, int(microseconds) // FEEDINGS // 1000) if microseconds.isdecimal() else None
