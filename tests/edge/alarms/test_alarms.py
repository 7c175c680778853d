"""Histories of verdicts, and the alarms that a line raises for them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from parts import VERDICT

from edge.alarms.alarms import FAILURES_NS, Alarms, Memory, names_of
from edge.errors import LineError
from edge.messages import Alarm, Health, Judged, Look, Verdict
from edge.recipe import AlarmLimits

AT = "2026-01-02T03:04:05.000000Z"
LIMITS = AlarmLimits(consecutive=10, consecutive_of={"dark": 3})
SCORES = 100
S = 1_000_000_000


class History:
    """Verdicts one after another, of parts that vary as real ones do, and the alarms that they raise."""

    def __init__(self, memory: Memory | None = None, of: str = "") -> None:
        self.rng = np.random.default_rng(2)
        self.alarms = Alarms("pcb", LIMITS, {"model": SCORES}, of=of, memory=memory)
        self.sequence = 0

    def parts(
        self,
        count: int,
        reason: str = "clean",
        *,
        focus: float = 0.4,
        level: float = 90.0,
        shift: float = 0.0,
        repeats: int = 0,
        p: float | None = None,
        image: bool = True,
    ) -> list[Alarm]:
        """Note parts; returns the alarms that changed."""
        for _ in range(count):
            self.sequence += 1
            vary = self.rng.standard_normal(6).tolist()
            found = Health(
                level=level * (1 + 0.02 * vary[0]),
                saturated=0.01 * abs(vary[1]),
                focus=focus * (1 + 0.05 * vary[2]),
                repeats=repeats,
                shift_px=(shift + 0.7 * vary[3], 0.7 * vary[4]),
                rotation_deg=0.2 * vary[5],
            )
            rank = float(np.ceil(self.rng.random() * (SCORES + 1)) / (SCORES + 1)) if p is None else p
            verdict = {"clean": "pass", "defect": "reject"}.get(reason, "unknown")
            told = msgspec.structs.replace(
                VERDICT,
                part_id=f"1-{self.sequence}",
                verdict=verdict,
                reason=reason,
                judges=[judged(rank, verdict, reason)],
                image=found if image else None,
                registration_px=0.2 + 0.05 * abs(vary[5]) if reason != "registration" else None,
            )
            self.alarms.note(told, accepted=verdict == "pass")
        return self.alarms.take(AT)


def judged(p: float, verdict: str, reason: str) -> Judged:
    made = msgspec.convert({"verdict": verdict, "reason": reason}, type=dict[str, str])
    return Judged(name="model", score=0.1, threshold=0.5, p_value=p, bundle="b", **made)  # type: ignore[arg-type]


def names(changed: Sequence[Alarm]) -> list[str]:
    return [f"{alarm.alarm} {alarm.state} {alarm.cause}" for alarm in changed]


def test_a_line_that_runs_well_raises_no_alarm() -> None:
    """Five thousand parts that vary and of which a twentieth is defective."""
    history = History()
    for _ in range(250):
        assert names([*history.parts(19), *history.parts(1, "defect", p=0.0099)]) == []


def test_bad_product_is_told_from_a_camera_that_moved() -> None:
    """The same ten rejects point to the product while pictures are as learnt, and to the camera when not."""
    for moved, cause in (({}, "product"), ({"focus": 0.2}, "camera"), ({"level": 130.0}, "camera")):
        history = History()
        assert history.parts(100) == []
        (alarm,) = [one for one in history.parts(10, "defect", **moved) if one.alarm == "consecutive"]
        assert (alarm.state, alarm.cause) == ("raised", cause)
        assert alarm.text.startswith("10 parts in a row were not accepted: ")


def test_before_anything_is_learnt_the_cause_is_unclear_and_becomes_clear() -> None:
    """A line that starts with bad parts does not accuse anybody, until the evidence is there."""
    history = History()
    assert names(history.parts(10, "defect")) == ["consecutive raised unclear"]
    history.parts(100)
    assert names(history.parts(12, "defect")) == ["consecutive raised product"]


@pytest.mark.parametrize(
    ("alarm", "changed"),
    [
        ("focus", {"focus": 0.25}),
        ("exposure", {"level": 60.0}),
        ("exposure", {"level": 120.0}),
        ("registration", {"shift": -5.0}),
    ],
)
def test_a_camera_that_changes_alarms_before_it_costs_parts(alarm: str, changed: dict[str, float]) -> None:
    """All parts are still accepted, and the alarm says what has moved."""
    history = History()
    assert history.parts(100) == []
    assert names(history.parts(20, **changed)) == [f"{alarm} raised camera"]


def test_one_odd_picture_is_no_alarm() -> None:
    """Nor are nine of twenty."""
    history = History()
    history.parts(100)
    for _ in range(40):
        assert history.parts(11) == []
        assert history.parts(9, focus=0.1) == []


def test_a_lamp_that_is_out_is_the_camera() -> None:
    """Nothing of these parts is accepted, and three dark pictures have an alarm of their own."""
    history = History()
    history.parts(100)
    assert names(history.parts(3, "dark", level=1.0)) == ["consecutive-dark raised camera"]
    assert "consecutive raised camera" in names(history.parts(20, "dark", level=1.0))


def test_a_part_between_ends_the_row() -> None:
    """Rejects in a row are in a row, and those for one reason too."""
    history = History()
    history.parts(100)
    for _ in range(5):
        assert history.parts(2, "dark", image=False) == []
        assert history.parts(1, "late", image=False) == []
        assert history.parts(30) == []


def test_a_frozen_picture_alarms_at_once_and_its_end_is_seen() -> None:
    """Two repeated pictures raise it; after an acknowledgement it clears with the next new picture."""
    history = History()
    assert names(history.parts(1, repeats=1)) == []
    assert names(history.parts(1, "frozen", repeats=2)) == ["frozen raised camera"]
    assert history.alarms.acknowledge("frozen", "ann").state == "acknowledged"
    assert names(history.alarms.take(AT)) == ["frozen acknowledged camera"]
    assert names(history.parts(1, repeats=0)) == ["frozen cleared camera"]


def test_rising_scores_of_accepted_parts_alarm() -> None:
    """Good parts whose p-values gather near the threshold, before any is rejected."""
    history = History()
    history.parts(100)
    low = [name for _ in range(60) for name in names(history.parts(1, p=round(5 / 101, 4)))]
    assert low == ["drift raised product"]
    assert history.alarms.acknowledge("drift", "ann", learn=True).state == "cleared"
    assert names(history.parts(100, p=round(5 / 101, 4))) == ["drift cleared product"]


def test_an_alarm_stays_until_somebody_acknowledges_it() -> None:
    """Its condition ends, and yet it is raised; acknowledged, it clears, and says who did."""
    history = History()
    history.parts(10, "defect")
    assert history.parts(300) == []
    assert list(history.alarms.active) == ["consecutive"]
    history.alarms.acknowledge("consecutive", "ann")
    (alarm,) = history.alarms.take(AT)
    assert (alarm.state, alarm.by, alarm.raised_at) == ("cleared", "ann", AT)
    assert history.alarms.active == {}


def test_an_acknowledged_alarm_clears_when_its_condition_ends() -> None:
    """And it is raised again only when it comes again."""
    history = History()
    history.parts(10, "defect")
    history.alarms.acknowledge("consecutive", "ann")
    assert names(history.parts(2, "defect")) == ["consecutive acknowledged unclear"]
    assert names(history.parts(1)) == ["consecutive cleared unclear"]
    assert names(history.parts(10, "defect"))[0].startswith("consecutive raised")
    assert history.alarms.active["consecutive"].by == ""


def test_learning_makes_what_was_found_normal() -> None:
    """A camera that was replaced, or a lamp that is brighter on purpose."""
    history = History()
    history.parts(100)
    assert names(history.parts(30, level=130.0)) == ["exposure raised camera"]
    history.alarms.acknowledge("exposure", "ann", learn=True)
    assert names(history.parts(200, level=130.0)) == ["exposure cleared camera"]
    assert names(history.parts(30, level=90.0)) == ["exposure raised camera"]


def test_alarms_and_what_was_learnt_outlive_a_restart() -> None:
    """A power cycle clears no alarm, and a camera that moved meanwhile is noticed."""
    history = History(of="bundle")
    history.parts(100)
    history.parts(10, "defect")
    kept = msgspec.json.decode(msgspec.json.encode(history.alarms.memory), type=Memory)
    again = History(memory=kept, of="bundle")
    assert again.alarms.active == history.alarms.active
    assert again.alarms.take(AT) == []
    assert names(again.parts(20, focus=0.2)) == ["focus raised camera"]


def test_of_another_bundle_only_the_alarms_are_kept() -> None:
    """Scores and pictures of another product are not compared with those of the one before."""
    history = History(of="bundle")
    history.parts(100)
    history.parts(10, "defect")
    again = History(memory=history.alarms.memory, of="another")
    assert again.parts(100, focus=0.2) == []
    assert list(again.alarms.active) == ["consecutive"]


def test_an_acknowledged_alarm_stays_so_over_a_restart() -> None:
    """Until the new run knows that the condition has ended."""
    history = History()
    history.parts(10, "defect")
    history.alarms.acknowledge("consecutive", "ann")
    again = History(memory=history.alarms.memory)
    assert again.alarms.active["consecutive"].state == "acknowledged"
    assert names(again.parts(1)) == ["consecutive cleared unclear"]


def test_a_stage_that_fails_again_and_again_alarms() -> None:
    """Three failures within five minutes, and not three in an hour; capture points to the camera."""
    for stage, cause in (("infer", "line"), ("capture", "camera")):
        alarms = Alarms("pcb", LIMITS, {})
        for number in range(3):
            alarms.failed(stage, number * FAILURES_NS)
            alarms.tick(number * FAILURES_NS)
        assert alarms.take(AT) == []
        for number in range(2):
            alarms.failed(stage, 2 * FAILURES_NS + number * S)
        alarms.tick(2 * FAILURES_NS + 2 * S)
        assert names(alarms.take(AT)) == [f"stage raised {cause}"]
        alarms.acknowledge("stage", "ann")
        alarms.take(AT)
        alarms.tick(4 * FAILURES_NS)
        assert names(alarms.take(AT)) == [f"stage cleared {cause}"]


def test_a_fault_that_a_process_reports_is_an_alarm() -> None:
    """The journal cannot write, and later it can."""
    alarms = Alarms("pcb", LIMITS, {})
    alarms.fault("journal", "/var: no space left")
    (alarm,) = alarms.take(AT)
    assert (alarm.alarm, alarm.state, alarm.cause, alarm.text) == (
        "journal",
        "raised",
        "line",
        "/var: no space left",
    )
    alarms.fault("journal", "")
    assert alarms.take(AT) == []
    assert alarms.acknowledge("journal", "ann").state == "cleared"


@pytest.mark.parametrize(
    ("name", "learn", "says"),
    [
        ("lamp", False, "alarm: expected one of consecutive, consecutive-dark, reject-rate"),
        ("focus", False, "alarm focus: it is not raised"),
        ("consecutive", True, "alarm consecutive: it learns nothing"),
    ],
)
def test_what_cannot_be_acknowledged_is_said(name: str, learn: bool, says: str) -> None:
    """A mistyped name, and an alarm that is none."""
    history = History()
    history.parts(10, "defect")
    with pytest.raises(LineError, match=says):
        history.alarms.acknowledge(name, "ann", learn=learn)


def test_every_alarm_has_a_name_from_the_start() -> None:
    """So that a metric of each exists before the first is raised."""
    assert set(names_of(LIMITS)) >= {"consecutive-dark", "drift", "journal", "hold", "frozen"}
    assert len(set(names_of(LIMITS))) == len(names_of(LIMITS))


def test_a_line_that_is_held_accuses_nobody() -> None:
    """Its parts are unknown because a person said so."""
    history = History()
    verdict: Verdict = msgspec.structs.replace(VERDICT, verdict="unknown", reason="hold")
    for _ in range(100):
        history.alarms.note(verdict, accepted=False)
    assert history.alarms.take(AT) == []


def test_each_camera_of_a_belt_is_watched() -> None:
    """The lens of the second camera comes loose, or its judge's scores rise: the alarm says so."""
    rng = np.random.default_rng(4)
    alarms = Alarms("pcb", LIMITS, {"seal": SCORES})

    def look(camera: str, focus: float, *judges: Judged) -> Look:
        image = Health(level=90.0, saturated=0.0, focus=focus * (1 + 0.05 * float(rng.standard_normal())))
        return Look(
            camera=camera,
            entry=1,
            view="a",
            source_ref="",
            captured_ns=1,
            registration_px=None,
            image=image,
            reason="clean",
            judges=list(judges),
        )

    def parts(count: int, focus: float = 0.3, p: float | None = None) -> list[Alarm]:
        for number in range(count):
            rank = float(np.ceil(rng.random() * (SCORES + 1)) / (SCORES + 1)) if p is None else p
            looks = [look("top", 0.4), look("side", focus, judged(rank, "pass", "clean"))]
            looks[1].judges[0] = msgspec.structs.replace(looks[1].judges[0], name="seal")
            alarms.note(
                msgspec.structs.replace(VERDICT, part_id=f"1-{number}", image=looks[0].image, looks=looks),
                accepted=True,
            )
        return alarms.take(AT)

    assert parts(100) == []
    (focus,) = parts(20, focus=0.15)
    assert (focus.alarm, focus.cause) == ("focus", "camera")
    assert focus.text.endswith("less sharp (side)")
    parts(60)
    assert names(parts(60, p=round(5 / 101, 4))) == ["drift raised product"]
