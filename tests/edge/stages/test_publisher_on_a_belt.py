"""One verdict a part, of all its looks, whatever the cameras saw."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from belt_desk import MS, BeltDesk
from belt_stations import BY_TIME, DUE, SETTLED, looks, told

from edge.belt.course import ENTRY_NS
from edge.belt.layout import Layout
from edge.belt.match import Station
from edge.belt.places import NOWHERE
from edge.recipe import MOST_CAMERAS, MOST_JUDGES
from edge.sources import Trigger
from edge.stages.capture import Capture
from edge.stages.looks import record_bytes


@pytest.fixture
def desk(tmp_path: Path) -> BeltDesk:
    return BeltDesk(tmp_path, ("top", "side"), BY_TIME)


def test_a_part_is_published_when_its_last_look_cannot_change(desk: BeltDesk) -> None:
    """As soon as the belt has passed the window of the last camera, and not before."""
    desk.see(0)
    assert desk.publish(SETTLED - 1) == []
    ((topic, verdict),) = desk.publish(SETTLED)
    assert (topic, told(verdict)) == ("accept.caps", ("pass", "clean", ["clean", "clean"]))
    assert (verdict.eject_at_ns, verdict.deadline_ns) == (2000 * MS, 1900 * MS)
    assert [look.entry for look in looks(verdict)] == [0, 0]
    assert [look.captured_ns for look in looks(verdict)] == [0, 1000 * MS]
    assert verdict.tick is msgspec.UNSET


@pytest.mark.parametrize(
    ("heats", "expected"),
    [
        ({"side": 0.9}, ("reject", "defect", ["clean", "defect"])),
        ({"top": 0.9}, ("reject", "defect", ["defect", "clean"])),
        ({"top": 0.9, "side": 0.9}, ("reject", "defect", ["defect", "defect"])),
    ],
    ids=["side", "top", "both"],
)
def test_any_camera_rejects(
    desk: BeltDesk, heats: dict[str, float], expected: tuple[str, str, list[str]]
) -> None:
    """A defect that one camera sees rejects the part, and the region names this camera."""
    desk.see(0, heats)
    ((topic, verdict),) = desk.publish(SETTLED)
    assert (topic, told(verdict)) == ("reject.caps", expected)
    assert {region.camera for region in verdict.regions} == set(heats)


def test_a_look_that_does_not_come_is_missing(desk: BeltDesk) -> None:
    """The part is unknown and rejected, once the belt has passed; the part behind it has its own look."""
    desk.judge(desk.enter("top", 0))
    desk.see(500 * MS)
    ((topic, verdict),) = desk.publish(SETTLED)
    assert (topic, told(verdict)) == ("reject.caps", ("unknown", "missing", ["clean", "missing"]))
    assert verdict.detail.startswith("side: ")
    ((_, verdict),) = desk.publish(SETTLED + 500 * MS)
    assert (told(verdict), looks(verdict)[1].entry) == (("pass", "clean", ["clean", "clean"]), 0)


@pytest.mark.parametrize(
    ("accepted", "topic"), [((), "reject.caps"), (("stray",), "accept.caps")], ids=["rejected", "accepted"]
)
def test_a_look_without_a_part_is_a_stray(tmp_path: Path, accepted: tuple[str, ...], topic: str) -> None:
    """It is reported as a verdict of its own, with the place of the part that it stands for."""
    desk = BeltDesk(tmp_path, ("top", "side"), BY_TIME, accepted=accepted)
    desk.judge(desk.enter("side", 1000 * MS))
    assert desk.publish(100 * MS) == []
    ((found, verdict),) = desk.publish(100 * MS + ENTRY_NS)
    assert (found, told(verdict)) == (topic, ("unknown", "stray", ["stray"]))
    assert (verdict.camera, verdict.eject_at_ns) == ("side", 2000 * MS)
    assert desk.ledgers["side"].waiting == 0


def test_a_doubled_look_is_a_stray_and_shifts_nobody(desk: BeltDesk) -> None:
    """The nearer one belongs to the part; the other one and the parts behind are what they are."""
    desk.judge(desk.enter("top", 0))
    for at_ms in (1005, 1040):
        desk.judge(desk.enter("side", at_ms * MS), 0.1 if at_ms == 1005 else 0.9)
    desk.see(400 * MS)
    found = [verdict for _, verdict in desk.publish(SETTLED + 400 * MS)]
    assert [(v.camera, v.reason) for v in found] == [("top", "clean"), ("side", "stray"), ("top", "clean")]
    assert [look.entry for look in looks(found[0])] == [0, 0]
    assert [look.entry for look in looks(found[2])] == [1, 2]
    assert [v.number for v in found] == [1, 2, 3]


def test_a_look_that_comes_after_the_verdict_is_a_stray(desk: BeltDesk) -> None:
    """The part's verdict stays as it was, and the next part does not take the look."""
    desk.judge(desk.enter("top", 0))
    desk.judge(desk.enter("top", 90 * MS))
    assert [v.reason for _, v in desk.publish(SETTLED)] == ["missing"]
    desk.judge(desk.enter("side", 1020 * MS))
    assert [(v.camera, v.reason) for _, v in desk.publish(SETTLED + 90 * MS)] == [
        ("side", "stray"),
        ("top", "missing"),
    ]


def test_a_silent_look_makes_the_part_late_before_its_deadline(desk: BeltDesk) -> None:
    """A camera's look that nobody judges does not pass, and the part is told in time."""
    desk.judge(desk.enter("top", 0))
    desk.enter("side", 1000 * MS)
    assert desk.publish(DUE - 1) == []
    ((topic, verdict),) = desk.publish(DUE)
    assert (topic, told(verdict)) == ("reject.caps", ("unknown", "late", ["clean", "late"]))
    assert verdict.published_ns < verdict.deadline_ns


@pytest.mark.parametrize("camera", ["top", "side"])
def test_a_look_that_cannot_be_judged_makes_the_part_unknown(desk: BeltDesk, camera: str) -> None:
    """Whichever camera it is; the detail names it."""
    for name, at_ns in (("top", 0), ("side", 1000 * MS)):
        part = desk.enter(name, at_ns)
        desk.refuse(part, "frame") if name == camera else desk.judge(part)
    ((topic, verdict),) = desk.publish(SETTLED)
    assert (topic, verdict.verdict, verdict.reason) == ("reject.caps", "unknown", "frame")
    assert verdict.detail == f"{camera}: so it is"


def test_late_is_late_and_hits_no_other_part(desk: BeltDesk) -> None:
    """A verdict after its deadline is published and marked, with the place of its own part."""
    desk.see(0)
    desk.see(300 * MS)
    found = [verdict for _, verdict in desk.publish(2050 * MS)]
    assert [(v.reason, v.eject_at_ns) for v in found] == [("late", 2000 * MS), ("clean", 2300 * MS)]
    assert found[0].published_ns > found[0].deadline_ns


def test_the_longest_verdict_fits_its_record(tmp_path: Path) -> None:
    """Eight cameras with sixteen judges each, that all reject, and pictures with the longest names."""
    cameras = [f"camera-{n}-{'x' * 20}" for n in range(MOST_CAMERAS)]
    stations = tuple(Station(name=name, at=100 * MS, window=50 * MS) for name in cameras[1:])
    layout = Layout(stations=stations, several=True, eject_at=2000 * MS, lead_ns=0)
    most = record_bytes([MOST_JUDGES] * MOST_CAMERAS)
    desk = BeltDesk(tmp_path, cameras, layout, judges=MOST_JUDGES, bundle="1" * 64, record_bytes=most)
    for camera in cameras:
        part = desk.enter(camera, 0 if camera == cameras[0] else 100 * MS)
        row = desk.ledgers[camera]._rows
        row["view"][0], row["source_ref"][0] = b"\\" * 128, b'"' * 512
        desk.judge(desk.ledgers[camera].part(part.entry), 1 / 1.1)
    ((_, verdict),) = desk.publish(1000 * MS)
    assert [len(look.judges) for look in looks(verdict)] == [MOST_JUDGES] * MOST_CAMERAS
    assert all(judged.verdict == "reject" for look in looks(verdict) for judged in look.judges)
    assert verdict.regions


def test_a_part_that_nobody_saw_takes_no_look_of_another(desk: BeltDesk, tmp_path: Path) -> None:
    """Its place is a guess, so its looks are strays where they really are, and it is missing itself."""
    capture = Capture(
        desk.rings["top"],
        desk.ledgers["top"],
        camera="top",
        shape=(2, 4),
        place=lambda ns: (ns, ns + 1900 * MS),
        places_unseen=False,
    )
    assert capture.enter(Trigger("", 0, 0, count=7), seen=False).position == NOWHERE
    desk.judge(desk.enter("side", 1000 * MS))
    found = [(verdict.camera, verdict.reason) for _, verdict in desk.publish(SETTLED)]
    assert sorted(found) == [("side", "stray"), ("top", "missing")]
