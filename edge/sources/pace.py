"""Triggers parts at a steady rate that does not depend on how long it takes to read each part."""

from __future__ import annotations

import time

from .base import Trigger


class Pace:
    """A clock that gives `fps` triggers per second. If the reader is late, no trigger is skipped."""

    def __init__(self, fps: float) -> None:
        self._period_ns = 1e9 / fps
        self._start_ns = time.monotonic_ns()
        self._count = 0

    def wait(self, timeout_s: float, view: str, source_ref: str = "") -> Trigger | None:
        """Wait for the next trigger and return it with its due time. Return None after `timeout_s` seconds."""
        due_ns = self._start_ns + round((self._count + 1) * self._period_ns)
        ahead_s = (due_ns - time.monotonic_ns()) / 1e9
        if ahead_s > 0:
            time.sleep(min(ahead_s, timeout_s))
        if ahead_s > timeout_s:
            return None
        self._count += 1
        late_ns = time.monotonic_ns() - due_ns
        return Trigger(view, due_ns, time.time_ns() - late_ns, source_ref)
