"""Decides if a line is idle, judging, blind or held, and why, from its verdicts and the state of capture."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from ..messages import UNKNOWN_REASONS, Heartbeat, Part, StateKind, utc

#: The line is idle after this time without a part.
IDLE_NS = 2_000_000_000
#: The line is blind after at least BLIND_PARTS unknown parts in a row, which came over at least BLIND_NS.
BLIND_NS, BLIND_PARTS = 2_000_000_000, 3
#: Capture counts as hanging after this time without a heartbeat.
HANG_NS = 2_000_000_000


class State:
    """The state of a line. A blind line does not see parts that come, or could not judge the last parts.

    `captures` has the row of each camera's capture process, and `recovery_ns` a time for each camera. After
    capture has failed, the line is blind until this camera sees a part, or until capture has run for that
    time without another failure. It is long enough for a camera that delivers nothing to fail again. `run` is
    the number of the run.

    `hold` returns why the line is held, and an empty text if it is not. A held line is blind as well if capture
    fails, and then says that it is blind.
    """

    def __init__(
        self,
        captures: Mapping[str, NDArray[Any]],
        recovery_ns: Mapping[str, int],
        run: bytes = b"",
        hold: Callable[[], str] = str,
    ) -> None:
        self._captures, self._recovery_ns, self._run = captures, recovery_ns, run.hex()
        #: Returns why the line is held; empty if it is not.
        self.hold = hold
        self._last: Part | None = None
        self._number = 0
        # When each camera saw a part last.
        self._seen_ns: dict[str, int] = {}
        self._last_reason = ""
        self._judged: Part | None = None
        self._judged_ns = 0
        self._unknowns = 0
        self._unknown_since_ns = 0

    def saw(self, part: Part) -> None:
        """Note that a camera saw a part, or one more look of a part."""
        if not part.is_missing:
            self._seen_ns[part.camera] = part.captured_ns

    def note(self, part: Part, reason: str, published_ns: int, number: int) -> None:
        """Note that a part's verdict was sent: its reason, number, and the time at which it was published."""
        self.saw(part)
        self._last, self._last_reason, self._number = part, reason, number
        if reason not in UNKNOWN_REASONS:
            self._judged, self._judged_ns, self._unknowns = part, published_ns, 0
            return
        if reason == "hold":
            # Such a part says nothing about whether parts can be judged.
            self._unknowns = 0
            return
        self._unknowns += 1
        if self._unknowns == 1:
            self._unknown_since_ns = part.captured_ns

    def at(self, now_ns: int) -> tuple[StateKind, str]:
        """Return the state at `now_ns`, and why the line is blind or held. Otherwise the reason is empty."""
        faults = (self._capture_fault(camera, now_ns) for camera in self._captures)
        if reason := next(filter(None, faults), ""):
            return "blind", reason
        if why := self.hold():
            return "held", why
        if reason := self._judging_fault():
            return "blind", reason
        if self._last is not None and now_ns - self._last.captured_ns < IDLE_NS:
            return "judging", ""
        return "idle", ""

    def heartbeat(self, line: str, parts: int, now_ns: int) -> Heartbeat:
        """Return the line's heartbeat message at `now_ns`, after `parts` verdicts have been published."""
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
            run=self._run,
            unwatched_s=round(sum(int(row["away_ns"][0]) for row in self._captures.values()) / 1e9, 3),
            number=self._number,
        )

    def _capture_fault(self, camera: str, now_ns: int) -> str:
        """Return why capture would miss a part that comes now; empty if capture would not miss it."""
        row = self._captures[camera][0]
        who = f"capture of {camera}" if len(self._captures) > 1 else "capture"
        ready, ready_ns, failed_ns = bool(row["ready"]), int(row["ready_ns"]), int(row["failed_ns"])
        if ready and now_ns - int(row["beat_ns"]) > HANG_NS:
            return f"{who} has shown no sign of life for {(now_ns - int(row['beat_ns'])) / 1e9:.0f} s"
        if not failed_ns or self._seen_ns.get(camera, 0) > failed_ns:
            return ""
        if ready and now_ns - ready_ns > self._recovery_ns[camera]:
            return ""
        return f"{who} failed {(now_ns - failed_ns) / 1e9:.0f} s ago, and no part has come since"

    def _judging_fault(self) -> str:
        """Return why the last parts could not be judged. Empty if they were judged or are too few to tell."""
        if self._last is None or self._unknowns < BLIND_PARTS:
            return ""
        since_ns = self._last.captured_ns - self._unknown_since_ns
        return f"{self._unknowns} parts, none judged: {self._last_reason}" if since_ns >= BLIND_NS else ""
