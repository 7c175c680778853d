"""Keeps all alarms of a line: notes verdicts, failures and faults, and tells which alarms have changed.

It has no clock, socket or file: the caller gives the times, sends the messages and keeps the memory.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Mapping
from itertools import chain

from msgspec import UNSET, Struct, field

from ..errors import LineError
from ..messages import Alarm, Cause, Verdict
from ..recipe import AlarmLimits
from .causes import Evidence, cause_of
from .drift import Bets, Drift
from .latch import Latch
from .pictures import RECENT, Learnt, Pictures, pictures_of
from .rate import RejectRate

#: Failures of a stage within this time count together.
FAILURES_NS = 300_000_000_000
#: Alarms whose condition is a fault that a process of the line reports.
FAULTS = ("journal", "recorder", "subscriber", "hold", "challenge", "state")
#: Alarms that compare pictures with those that were learnt.
PICTURES = ("focus", "exposure", "registration")


class Memory(Struct, kw_only=True):
    """What outlives a restart of the line."""

    v: int = 1
    of: str = ""  # digest of what the pictures and scores depend on; of another line, only `alarms` are used
    alarms: list[Alarm] = []  # those that are active
    learnt: Learnt = field(default_factory=dict)
    drift: dict[str, Bets] = field(default_factory=dict)  # by judge


class Alarms:
    """The alarms of one line. `calibrations` has the number of calibration scores of each calibrated judge."""

    def __init__(
        self,
        line: str,
        limits: AlarmLimits,
        calibrations: Mapping[str, int],
        *,
        of: str = "",
        memory: Memory | None = None,
    ) -> None:
        """`of` is the digest of what pictures and scores depend on. `memory` is that of the run before."""
        memory, self._of, self._limits = memory or Memory(), of, limits
        same = memory.of == of
        self._pictures = Pictures(limits, memory.learnt if same else None)
        self._drift = {
            judge: Drift(scores, memory.drift.get(judge) if same else None)
            for judge, scores in calibrations.items()
        }
        self._rate = RejectRate(limits.reject_rate, limits.window)
        self._in_a_row: Counter[str] = Counter()
        self._reasons: deque[str] = deque(maxlen=RECENT)  # of the last parts that were not accepted
        self._repeats: dict[str, int] = {}  # by camera: of its last picture
        self._failures: dict[str, deque[int]] = {}
        self._noted = False
        before = {alarm.alarm: alarm for alarm in memory.alarms}
        self._latches = {name: Latch(line, name, before.get(name)) for name in names_of(limits)}

    def note(self, verdict: Verdict, *, accepted: bool) -> None:
        """Note the next verdict, and whether its part may pass. Verdicts that were sent again are left out.

        A part without a verdict of its own, since the line is held, says nothing about product or camera.
        """
        reason: str = verdict.reason
        if reason == "hold":
            return
        for picture in pictures_of(verdict):
            self._pictures.note(picture, accepted)
            self._repeats[picture.camera] = picture.image.repeats
        if accepted:
            self._in_a_row.clear()
            looks = [] if verdict.looks is UNSET else verdict.looks
            for judged in chain(verdict.judges, *(look.judges for look in looks)):
                if judged.p_value is not None and judged.name in self._drift:
                    # The same verdicts give the same alarms.
                    tie = random.Random(f"{verdict.part_id} {judged.name}").random()
                    self._drift[judged.name].note(judged.p_value, tie)
        else:
            self._reasons.append(reason)
            for other in self._in_a_row.keys() - {"any", reason}:
                del self._in_a_row[other]
            self._in_a_row.update(("any", reason))
        self._rate.note(not accepted)
        self._see_rejects()
        self._noted = True

    def fault(self, name: str, text: str) -> None:
        """Note what the fault `name`, one of FAULTS, is now; an empty text says that it has ended."""
        self._latches[name].see(bool(text), "line", text)

    def failed(self, stage: str, now_ns: int) -> None:
        """Note that the process of a stage has ended unexpectedly."""
        self._failures.setdefault(stage, deque()).append(now_ns)

    def tick(self, now_ns: int) -> None:
        """Forget the failures of stages that are too long ago."""
        often: list[str] = []
        for stage, times in self._failures.items():
            while times and now_ns - times[0] > FAILURES_NS:
                times.popleft()
            if len(times) >= self._limits.stage_failures:
                often.append(stage)
        if not self._failures:
            return
        cause: Cause = "camera" if often and all(stage.startswith("capture") for stage in often) else "line"
        told = f"{', '.join(often)} failed again and again within 5 minutes: the log of the line says why"
        self._latches["stage"].see(bool(often), cause, told)

    def acknowledge(self, name: str, by: str, *, learn: bool = False) -> Alarm:
        """Acknowledge an alarm for the person `by`, and return its state.

        If `learn`, what the alarm has found is normal from now on: the next parts are learnt from. Raise
        LineError if there is no such alarm, if it is not raised, or if it learns nothing.
        """
        latch = self._latches.get(name)
        if latch is None:
            raise LineError(f"alarm: expected one of {', '.join(self._latches)}, found {name[:40]!r}")
        if latch.state != "raised":
            state = "acknowledged" if latch.is_active else "not raised"
            raise LineError(f"alarm {name}: it is {state}")
        if learn and name not in (*PICTURES, "drift"):
            raise LineError(f"alarm {name}: it learns nothing: acknowledge it without `learn`")
        if learn and name in PICTURES:
            self._pictures.forget()
            latch.see(False, "unclear", "")
        if name == "drift":
            for judge in self._drift.values():
                judge.restart(learn=learn)
            latch.see(False, "unclear", "")
        latch.acknowledge(by)
        return latch.alarm()

    def take(self, at: str) -> list[Alarm]:
        """Return the alarms that have changed since the last call. `at` is the time now, UTC in ISO 8601."""
        if self._noted:
            # Once for all verdicts since the last call, because this takes longer than to note a verdict.
            self._see_drift()
            self._see_pictures()
            self._noted = False
        return [latch.take(at) for latch in self._latches.values() if latch.is_new]

    @property
    def active(self) -> dict[str, Alarm]:
        """The alarms that are raised or acknowledged, by name."""
        return {name: latch.alarm() for name, latch in self._latches.items() if latch.is_active}

    @property
    def states(self) -> dict[str, bool]:
        """For each alarm that the line can raise, whether it is active."""
        return {name: latch.is_active for name, latch in self._latches.items()}

    @property
    def memory(self) -> Memory:
        """What a restart of the line continues from."""
        return Memory(
            of=self._of,
            alarms=list(self.active.values()),
            learnt=self._pictures.learnt,
            drift={judge: drift.bets for judge, drift in self._drift.items()},
        )

    def _see_rejects(self) -> None:
        any_, rate, allowed = self._in_a_row["any"], self._rate, self._limits.reject_rate
        told = f"{any_} parts in a row were not accepted"
        self._see("consecutive", any_ >= self._limits.consecutive, told)
        for reason, most in self._limits.consecutive_of.items():
            told = f"{self._in_a_row[reason]} parts in a row were not accepted for the reason {reason}"
            self._see(f"consecutive-{reason}", self._in_a_row[reason] >= most, told)
        told = f"{rate.rejected} of {rate.parts} parts were not accepted, {allowed:.1%} are allowed"
        self._see("reject-rate", rate.is_over, told)

    def _see(self, name: str, holds: bool | None, told: str, *, of_rejects: bool = True) -> None:
        """Note whether the condition of an alarm holds. If it does, find out what it points to."""
        latch = self._latches[name]
        if not holds or latch.is_told:
            latch.see(holds, "unclear", told)
            return
        compared, moved = self._pictures.evidence()
        reasons = Counter(self._reasons if of_rejects else ())
        cause, look = cause_of(Evidence(reasons=reasons, compared=compared, moved=moved))
        latch.see(True, cause, f"{told}: {look}")

    def _see_drift(self) -> None:
        far = [name for name, drift in self._drift.items() if drift.capital >= self._ruin]
        # A capital that falls again does not take back what it has shown.
        told = f"scores of accepted parts rise ({', '.join(far)})"
        self._see("drift", True if far else None, told, of_rejects=False)

    @property
    def _ruin(self) -> float:
        """The capital that one of the judges' tests reaches with the probability of a false alarm, at most."""
        return len(self._drift) / self._limits.drift_false_alarm

    def _see_pictures(self) -> None:
        for name in PICTURES:
            moved, text = self._pictures.moved(name)
            self._latches[name].see(moved, "camera", text)
        if self._repeats:
            camera, repeats = max(self._repeats.items(), key=lambda of_camera: of_camera[1])
            text = f"camera {camera} sent the same picture {repeats + 1} times: it is frozen"
            self._latches["frozen"].see(repeats >= self._limits.frozen, "camera", text)


def names_of(limits: AlarmLimits) -> tuple[str, ...]:
    """Return the names of all alarms that a line with these limits can raise."""
    of_reasons = (f"consecutive-{reason}" for reason in limits.consecutive_of)
    return ("consecutive", *of_reasons, "reject-rate", "drift", *PICTURES, "frozen", "stage", *FAULTS)
