"""Decides whether the line is idle, judging or blind, and why, from its verdicts and from capture's health."""

from __future__ import annotations

import time
from typing import Any

from numpy.typing import NDArray

from ..messages import UNKNOWN_REASONS, Heartbeat, Part, StateKind, utc

#: The line is idle after this time without a part.
IDLE_NS = 2_000_000_000
#: The line is blind after this many unknown parts in a row that came over at least this time.
BLIND_NS, BLIND_PARTS = 2_000_000_000, 3
#: Capture counts as hanging after this time without a heartbeat.
HANG_NS = 2_000_000_000


class State:
    """The line's state, from the verdicts given to `note` and from `capture`, that stage's row in the ledger.

    After capture failed, the line is blind until a part comes, or until capture has run for `recovery_ns`
    without another failure: by then a camera that delivers nothing would have failed again.
    """

    def __init__(self, capture: NDArray[Any], recovery_ns: int) -> None:
        self._capture, self._recovery_ns = capture, recovery_ns
        self._last: Part | None = None
        self._last_reason = ""
        self._judged: Part | None = None
        self._judged_ns = 0
        self._unknowns = 0
        self._unknown_since_ns = 0

    def note(self, part: Part, reason: str, published_ns: int) -> None:
        """Note that a part's verdict was sent, with its reason and the time in it."""
        self._last, self._last_reason = part, reason
        if reason not in UNKNOWN_REASONS:
            self._judged, self._judged_ns, self._unknowns = part, published_ns, 0
            return
        self._unknowns += 1
        if self._unknowns == 1:
            self._unknown_since_ns = part.captured_ns

    def at(self, now_ns: int) -> tuple[StateKind, str]:
        """Return the state, and the reason why the line is blind, which is empty in other states."""
        if reason := self._capture_fault(now_ns) or self._judging_fault():
            return "blind", reason
        if self._last is not None and now_ns - self._last.captured_ns < IDLE_NS:
            return "judging", ""
        return "idle", ""

    def heartbeat(self, line: str, parts: int, now_ns: int) -> Heartbeat:
        """Return the heartbeat of a line that has published `parts` verdicts."""
        state, reason = self.at(now_ns)
        judged, last = self._judged, self._last
        return Heartbeat(
            line=line,
            state=state,
            reason=reason,
            part_id=judged.part_id if judged else None,
            judged_at=utc(time.time_ns() - (now_ns - self._judged_ns)) if judged else None,
            judged_ns=self._judged_ns if judged else None,
            published_ns=now_ns,
            parts=parts,
            epoch=last.epoch if last else None,
            sequence=last.sequence if last else None,
        )

    def _capture_fault(self, now_ns: int) -> str:
        """Return why capture would miss a part that comes now; empty where it would not."""
        row = self._capture[0]
        ready, ready_ns, failed_ns = bool(row["ready"]), int(row["ready_ns"]), int(row["failed_ns"])
        if ready and now_ns - int(row["beat_ns"]) > HANG_NS:
            return f"capture has shown no sign of life for {(now_ns - int(row['beat_ns'])) / 1e9:.0f} s"
        if not failed_ns or (self._last is not None and self._last.captured_ns > failed_ns):
            return ""
        if ready and now_ns - ready_ns > self._recovery_ns:
            return ""
        return f"capture failed {(now_ns - failed_ns) / 1e9:.0f} s ago, and no part has come since"

    def _judging_fault(self) -> str:
        """Return why the last parts could not be judged; empty where they were."""
        if self._last is None or self._unknowns < BLIND_PARTS:
            return ""
        since_ns = self._last.captured_ns - self._unknown_since_ns
        return f"{self._unknowns} parts, none judged: {self._last_reason}" if since_ns >= BLIND_NS else ""
