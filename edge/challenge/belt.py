"""Hears what a running line says about its parts, for a challenge test with parts on its belt."""

from __future__ import annotations

import time
from pathlib import Path

from ..errors import LineError
from ..line.plan import VERDICTS
from ..messages import Heartbeat, Verdict
from ..subscriber import Subscriber
from .compare import Said, blind, said_of

MOST_WAITING, PATIENCE_MS = 10_000, 10_000


class Ear:
    """A subscriber to the line whose run is in `folder`. `with` returns when it hears the line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._subscriber = Subscriber(f"ipc://{folder}/{VERDICTS}.ipc", most_waiting=MOST_WAITING)

    def __enter__(self) -> Ear:
        # A new subscriber gets a heartbeat at once. Verdicts that came before are of parts before the test.
        if self._subscriber.hear(PATIENCE_MS) is None:
            raise LineError(f"{self._folder}: nothing was heard of the line within {PATIENCE_MS / 1000:g} s")
        while self._subscriber.hear(0):
            pass
        return self

    def __exit__(self, *error: object) -> None:
        self._subscriber.__exit__(*error)

    def hear(self, timeout_s: float) -> Said | None:
        """Return the next verdict, or that the line is blind. None if neither comes within the time."""
        end_s = time.monotonic() + timeout_s
        while True:
            left_ms = max(0, round((end_s - time.monotonic()) * 1000))
            if (heard := self._subscriber.hear(left_ms)) is None:
                return None
            if isinstance(heard.message, Verdict) and not heard.message.resent:
                return said_of(heard.message, heard.topic)
            if isinstance(heard.message, Heartbeat) and heard.message.state == "blind":
                return blind(heard.message)
