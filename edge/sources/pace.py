"""Triggers parts at a steady rate that does not depend on how long it takes to read each part."""

from __future__ import annotations

import math
import time

from .base import Trigger


class Pace:
    """A clock that gives `fps` triggers per second. If the reader is late, no trigger is skipped.

    `count` is the number of triggers so far. A clock that was started earlier goes on if `last_count` and
    `last_ns` say the number and the time of one of its triggers: triggers that are past are skipped.
    """

    def __init__(self, fps: float, last_count: int = 0, last_ns: int = 0) -> None:
        self._period_ns = 1e9 / fps
        now_ns = time.monotonic_ns()
        self._start_ns = last_ns - round(last_count * self._period_ns) if last_count else now_ns
        self.count = max(last_count, math.floor((now_ns - self._start_ns) / self._period_ns))

    def wait(self, timeout_s: float, view: str, source_ref: str = "") -> Trigger | None:
        """Wait for the next trigger and return it with its due time. Return None after `timeout_s` seconds."""
        due_ns = self._start_ns + round((self.count + 1) * self._period_ns)
        ahead_s = (due_ns - time.monotonic_ns()) / 1e9
        if ahead_s > 0:
            time.sleep(min(ahead_s, timeout_s))
        if ahead_s > timeout_s:
            return None
        self.count += 1
        late_ns = time.monotonic_ns() - due_ns
        return Trigger(view, due_ns, time.time_ns() - late_ns, source_ref)
