"""How the line is, idle, judging or blind, and why: from its verdicts, and from what becomes of capture."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..messages import StateKind, Verdict

IDLE_NS = 2_000_000_000  # without a part for so long, the line is idle
BLIND_NS, BLIND_PARTS = 2_000_000_000, 3  # unknown without a break, so long and so many: the line is blind
LIFELESS_NS = 2_000_000_000  # without a sign of life for so long, capture hangs


class State:
    """`note` each verdict that goes out, then ask how the line is; `capture` is that stage's row in the ledger.

    A capture that failed sees again when a part has come since, or when it has stood for `patience_ns` without
    another failure: so long it takes until a camera that delivers nothing is given up.
    """

    def __init__(self, capture: NDArray[Any], patience_ns: int) -> None:
        self._capture, self._patience_ns = capture, patience_ns
        self.last: Verdict | None = None
        self.judged: Verdict | None = None  # the last one that was not unknown
        self._unknowns = 0  # since a part was last judged
        self._unknown_since_ns = 0  # captured_ns of the first of them

    def note(self, verdict: Verdict) -> None:
        """A verdict has gone out."""
        self.last = verdict
        if verdict.verdict != "unknown":
            self.judged, self._unknowns = verdict, 0
            return
        self._unknowns += 1
        if self._unknowns == 1:
            self._unknown_since_ns = verdict.captured_ns

    def at(self, now_ns: int) -> tuple[StateKind, str]:
        """How the line is, and why it is blind; empty where it is not."""
        if reason := self._unseen(now_ns) or self._unjudged():
            return "blind", reason
        if self.last is not None and now_ns - self.last.captured_ns < IDLE_NS:
            return "judging", ""
        return "idle", ""

    def _unseen(self, now_ns: int) -> str:
        """Why parts would not even be seen."""
        row = self._capture[0]
        ready, ready_ns, failed_ns = bool(row["ready"]), int(row["ready_ns"]), int(row["failed_ns"])
        if ready and now_ns - int(row["beat_ns"]) > LIFELESS_NS:
            return f"capture has shown no sign of life for {(now_ns - int(row['beat_ns'])) / 1e9:.0f} s"
        if not failed_ns or (self.last is not None and self.last.captured_ns > failed_ns):
            return ""
        if ready and now_ns - ready_ns > self._patience_ns:
            return ""
        return f"capture failed {(now_ns - failed_ns) / 1e9:.0f} s ago, and no part has come since"

    def _unjudged(self) -> str:
        last = self.last
        if last is None or self._unknowns < BLIND_PARTS:
            return ""
        since_ns = last.captured_ns - self._unknown_since_ns
        return f"{self._unknowns} parts, none judged: {last.reason}" if since_ns >= BLIND_NS else ""
