"""One verdict a part, of all its looks, whatever the cameras saw, and whenever publish was killed."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import cast

import msgspec
import pytest
from belt_desk import GUARD_NS, MS, BeltDesk, Crash
from belts import Rates, belt
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.belt.course import ENTRY_NS, ByEncoder
from edge.belt.layout import Layout
from edge.belt.match import Station
from edge.belt.places import NOWHERE
from edge.belt.track import STALE_NS, Track
from edge.messages import Look, Verdict
from edge.recipe import MOST_CAMERAS, MOST_JUDGES
from edge.sources import Trigger
from edge.stages.capture import Capture
from edge.stages.looks import record_bytes

SIDE = Station(name="side", at=1000 * MS, window=100 * MS)
BY_TIME = Layout(stations=(SIDE,), several=True, eject_at=2000 * MS, lead_ns=100 * MS)
SETTLED = SIDE.at + SIDE.window + ENTRY_NS
DUE = 1900 * MS - GUARD_NS


@pytest.fixture
def desk(tmp_path: Path) -> BeltDesk:
    return BeltDesk(tmp_path, ("top", "side"), BY_TIME)


def looks(verdict: Verdict) -> list[Look]:
    assert isinstance(verdict.looks, list)
    return verdict.looks


def told(verdict: Verdict) -> tuple[str, str, list[str]]:
    """Verdict, reason, and the reason of each look."""
    return verdict.verdict, verdict.reason, [look.reason for look in looks(verdict)]


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


@pytest.mark.parametrize(
    ("distances_ms", "bad", "reasons"),
    [
        ([0, 100], {0}, ["defect", "gap"]),
        ([0, 100], {1}, ["gap", "defect"]),
        ([0, 100, 200], {2}, ["gap", "gap", "defect"]),
        ([0, 100, 250], {0}, ["defect", "gap", "clean"]),
        ([0, 150], {0}, ["defect", "clean"]),
        ([0, 100, 200], set(), ["clean", "clean", "clean"]),
    ],
    ids=["the one behind", "the one before", "in a row", "up to the gap", "far enough", "all good"],
)
def test_parts_that_the_ejector_cannot_part_go_together(
    tmp_path: Path, distances_ms: list[int], bad: set[int], reasons: list[str]
) -> None:
    """A good part too near to a rejected one is rejected, reason `gap`, and its verdict names the other."""
    desk = BeltDesk(
        tmp_path,
        ("top",),
        Layout(several=True, eject_at=2000 * MS, lead_ns=100 * MS, min_gap=150 * MS),
    )
    for number, at_ms in enumerate(distances_ms):
        desk.see(at_ms * MS, 0.9 if number in bad else 0.1)
    found = desk.publish(1000 * MS)
    assert [verdict.reason for _, verdict in found] == reasons
    for topic, verdict in found:
        assert topic == ("accept.caps" if verdict.reason == "clean" else "reject.caps")
        if verdict.reason == "gap":
            assert verdict.verdict == "reject"
            assert "too near to part 1-" in verdict.detail
            assert "rejected" in verdict.detail


NEAR = Layout(stations=(SIDE,), several=True, eject_at=2000 * MS, lead_ns=100 * MS, min_gap=150 * MS)


def test_a_good_part_with_an_undecided_neighbour_is_rejected_in_time(tmp_path: Path) -> None:
    """Nobody knows whether the one behind will be blown off, so the good one waits, and goes when it is due."""
    desk = BeltDesk(tmp_path, ("top", "side"), NEAR)
    desk.see(0)
    desk.judge(desk.enter("top", 100 * MS))
    desk.enter("side", 1100 * MS)
    assert desk.publish(DUE - 1) == []
    ((topic, verdict),) = desk.publish(DUE)
    assert (topic, verdict.verdict, verdict.reason) == ("reject.caps", "reject", "gap")
    assert verdict.detail == "too near to part 1-2, which is not decided"


def test_a_good_part_waits_until_none_can_come_too_near(tmp_path: Path) -> None:
    """Its verdict is not given while a part could still follow that the ejector cannot part from it."""
    layout = Layout(several=True, eject_at=2000 * MS, lead_ns=100 * MS, min_gap=300 * MS)
    desk = BeltDesk(tmp_path, ("top",), layout)
    desk.see(0)
    assert desk.publish(300 * MS + ENTRY_NS - 1) == []
    assert [verdict.reason for _, verdict in desk.publish(300 * MS + ENTRY_NS)] == ["clean"]


@pytest.mark.parametrize(
    ("accepted", "reason"), [((), "gap"), (("stray",), "clean")], ids=["rejected strays", "accepted strays"]
)
def test_a_part_near_to_a_stray_goes_with_it(tmp_path: Path, accepted: tuple[str, ...], reason: str) -> None:
    """Where the recipe rejects strays, the ejector blows at the place of one, and takes the part near to it."""
    desk = BeltDesk(tmp_path, ("top", "side"), NEAR, accepted=accepted)
    desk.see(0)
    desk.judge(desk.enter("side", 1110 * MS))
    found = [verdict.reason for _, verdict in desk.publish(SETTLED + 200 * MS)]
    assert sorted(found) == sorted(["stray", reason])


def test_what_was_decided_before_a_restart_counts_as_a_neighbour(tmp_path: Path) -> None:
    """A publish that takes over knows which part before was rejected."""
    desk = BeltDesk(tmp_path, ("top", "side"), NEAR)
    desk.see(0, 0.9)
    second = desk.see(100 * MS)
    assert [verdict.reason for _, verdict in desk.publish(SETTLED)] == ["defect"]
    desk.publisher = desk.publisher_anew()
    for part in second.values():
        desk.judge(part)
    assert [verdict.reason for _, verdict in desk.publish(SETTLED + 200 * MS)] == ["gap"]


TICKS = Station(name="side", at=1000, window=100)
BY_ENCODER = Layout(
    stations=(TICKS,), by_encoder=True, several=True, eject_at=2000, lead_ns=100 * MS, deadline_ns=500 * MS
)


class Encoder:
    """A belt with an encoder, one tick a millisecond at first, that a test moves as it likes."""

    def __init__(self, folder: Path) -> None:
        self.track = Track.create(folder / "track")
        self.now_ns, self.ticks = 0, 0
        self.track.write(1, 0, 0)

    def run(self, ms: int, speed: float = 1.0) -> int:
        """Let the belt run; returns the time afterwards."""
        for _ in range(ms // 10):
            self.now_ns += 10 * MS
            self.ticks += round(10 * speed)
            self.track.write(self.now_ns, self.ticks, self.ticks)
        return self.now_ns


@pytest.fixture
def encoder(tmp_path: Path) -> Encoder:
    made = Encoder(tmp_path)
    made.run(100)
    return made


@pytest.fixture
def ticking(tmp_path: Path, encoder: Encoder) -> BeltDesk:
    return BeltDesk(tmp_path, ("top", "side"), BY_ENCODER, ByEncoder(encoder.track))


def test_by_encoder_the_belts_position_tells_which_look_belongs_to_a_part(
    ticking: BeltDesk, encoder: Encoder
) -> None:
    """Though the belt ran at half its speed in between, and stood still: the look is the part's own."""
    ticking.judge(ticking.enter("top", encoder.now_ns))
    at = encoder.ticks
    encoder.run(500)
    encoder.run(1000, 0.5)
    encoder.run(700, 0)
    ticking.judge(ticking.enter("side", encoder.now_ns))
    assert ticking.publish(encoder.run(140)) == []
    ((_, verdict),) = ticking.publish(encoder.run(20))
    assert told(verdict) == ("pass", "clean", ["clean", "clean"])
    assert verdict.tick == at + 2000
    assert verdict.eject_at_ns == pytest.approx(encoder.now_ns + 840 * MS, abs=2 * MS)
    assert verdict.deadline_ns == cast(int, verdict.eject_at_ns) - 100 * MS


@pytest.mark.parametrize("speed", [0.0, -0.5], ids=["stopped", "reversed"])
def test_a_belt_that_does_not_run_postpones_the_verdict(
    ticking: BeltDesk, encoder: Encoder, speed: float
) -> None:
    """A part whose side look nobody has judged waits while the belt stands or goes back, and then is late."""
    ticking.judge(ticking.enter("top", encoder.now_ns))
    encoder.run(1000)
    ticking.enter("side", encoder.now_ns)
    assert ticking.publish(encoder.run(500)) == []
    assert ticking.publish(encoder.run(60_000, speed)) == []
    assert ticking.publish(encoder.run(300)) == []
    ((_, verdict),) = ticking.publish(encoder.run(2100 - 100 - 10 - encoder.ticks))
    assert told(verdict) == ("unknown", "late", ["clean", "late"])
    assert verdict.published_ns < verdict.deadline_ns


def test_a_judged_part_under_a_standing_belt_has_no_time_of_ejection(
    ticking: BeltDesk, encoder: Encoder
) -> None:
    """Its verdict is out already, with its tick; when it will be at the ejector, nobody knows."""
    ticking.judge(ticking.enter("top", encoder.now_ns))
    encoder.run(1000)
    ticking.judge(ticking.enter("side", encoder.now_ns))
    encoder.run(120)
    ((_, verdict),) = ticking.publish(encoder.run(500, 0))
    assert (verdict.verdict, verdict.eject_at_ns, verdict.tick) == ("pass", None, 2100)
    assert verdict.deadline_ns > verdict.published_ns


def test_a_belt_that_runs_faster_than_thought_makes_the_part_late(ticking: BeltDesk, encoder: Encoder) -> None:
    """It is told as late, and so are no others."""
    ticking.judge(ticking.enter("top", encoder.now_ns))
    encoder.run(1000)
    ticking.judge(ticking.enter("side", encoder.now_ns))
    ((topic, verdict),) = ticking.publish(encoder.run(100, 100))
    assert (topic, verdict.verdict, verdict.reason) == ("reject.caps", "unknown", "late")


@pytest.mark.parametrize("judges", [1, 2])
def test_a_line_with_one_camera_tells_of_an_encoder_that_failed(
    tmp_path: Path, encoder: Encoder, judges: int
) -> None:
    """Its part is unknown, and the verdict says what each judge found all the same."""
    layout = Layout(by_encoder=True, eject_at=2000, lead_ns=100 * MS, deadline_ns=500 * MS)
    desk = BeltDesk(tmp_path, ("camera",), layout, ByEncoder(encoder.track), judges=judges)
    now_ns = encoder.now_ns + STALE_NS + 1
    desk.judge(desk.enter("camera", now_ns))
    ((topic, verdict),) = desk.publish(now_ns + 10 * MS)
    assert (topic, verdict.verdict, verdict.reason) == ("reject.caps", "unknown", "position")
    assert [(one.verdict, one.reason) for one in verdict.judges] == [("pass", "clean")] * judges


def test_without_the_encoder_each_part_is_unknown(ticking: BeltDesk, encoder: Encoder) -> None:
    """Parts on the belt and parts that come are told at once or in time, since nobody knows where they are."""
    ticking.judge(ticking.enter("top", encoder.now_ns))
    now_ns = encoder.run(200)
    assert ticking.publish(now_ns) == []
    assert ticking.publish(now_ns + STALE_NS) == []
    ((topic, verdict),) = ticking.publish(now_ns := now_ns + STALE_NS + 1)
    assert (topic, verdict.verdict, verdict.reason) == ("reject.caps", "unknown", "position")
    part = ticking.enter("top", now_ns)
    assert part.position == NOWHERE
    ticking.judge(part)
    ((_, verdict),) = ticking.publish(now_ns + 1)
    assert (verdict.reason, verdict.eject_at_ns, verdict.tick) == ("position", None, None)


def test_a_look_without_a_position_is_a_stray(ticking: BeltDesk, encoder: Encoder) -> None:
    """It is never credited to a part by its number."""
    ticking.judge(ticking.enter("top", encoder.now_ns))
    encoder.run(1000)
    ticking.judge(ticking.enter("side", encoder.now_ns, NOWHERE))
    found = [verdict.reason for _, verdict in ticking.publish(encoder.run(200))]
    assert found == ["stray", "missing"]


def test_an_encoder_that_was_reset_takes_no_part_for_another(ticking: BeltDesk, encoder: Encoder) -> None:
    """Parts from before are unknown; those that come afterwards are judged as ever."""
    ticking.judge(ticking.enter("top", encoder.now_ns))
    encoder.ticks += 2**40
    ((_, verdict),) = ticking.publish(encoder.run(10))
    assert verdict.verdict == "unknown"
    ticking.judge(ticking.enter("top", encoder.run(200)))
    encoder.run(1000)
    ticking.judge(ticking.enter("side", encoder.now_ns))
    assert [verdict.reason for _, verdict in ticking.publish(encoder.run(200))] == ["clean"]


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


def run_belt(
    desk: BeltDesk, seed: int, rates: Rates, rng: random.Random
) -> tuple[list[Verdict], dict[int, set[str]]]:
    """Let a random belt pass, and kill publish at random: all that it sent, and where each board was seen."""
    line = belt(seed, 3, 12, rates)
    events = sorted(
        (position * MS, camera, board)
        for camera, (positions, boards) in enumerate(zip(line.positions, line.boards, strict=True))
        for position, board in zip(positions, boards, strict=True)
    )
    sent: list[Verdict] = []
    shown: dict[int, set[str]] = {}
    waiting = []

    def publish(now_ns: int) -> None:
        try:
            while (record := desk.publisher.next(lambda: now_ns)) is not None:
                sent.append(msgspec.json.decode(record.body, type=Verdict))
                desk.publisher.sent(record)
        except Crash:
            desk.left[0] = rng.randint(0, 12)
            desk.publisher = desk.publisher_anew()
            for part in waiting:
                if part.entry >= desk.ledgers[part.camera].published and rng.random() < 0.5:
                    desk.judge(part)

    for at_ns, camera, board in events:
        publish(at_ns - 1)
        part = desk.enter(desk.cameras[camera], at_ns)
        if board is not None:
            shown.setdefault(board, set()).add(f"{part.camera} {part.entry}")
        waiting.append(part)
        if rng.random() < 0.95:
            desk.judge(part, 0.9 if rng.random() < 0.2 else 0.1)
    end_ns = events[-1][0]
    while any(ledger.waiting for ledger in desk.ledgers.values()):
        end_ns += 500 * MS
        publish(end_ns)
    return sent, shown


@given(seed=st.integers(0, 2**32), faults=st.sampled_from([0.0, 0.1, 0.3]))
@settings(max_examples=12, deadline=None)
def test_a_killed_publish_gives_no_second_verdict_and_mixes_no_parts(seed: int, faults: float) -> None:
    """Killed before any of its writes, again and again: each part and each look is in exactly one verdict."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        line = belt(seed, 3, 12, Rates())
        stations = tuple(
            Station(name=f"c{n}", at=one.at * MS, window=one.window * MS)
            for n, one in enumerate(line.stations[1:], 1)
        )
        layout = Layout(stations=stations, several=True, eject_at=30_000 * MS, lead_ns=0, min_gap=300 * MS)
        desk = BeltDesk(Path(folder), ("c0", "c1", "c2"), layout, record_bytes=4096)
        desk.left[0] = 5
        sent, shown = run_belt(desk, seed, Rates(lost=faults, doubled=faults, spurious=faults), rng)
        entered = {f"{name} {n}" for name, ledger in desk.ledgers.items() for n in range(ledger.captured)}
    sent = [msgspec.structs.replace(verdict, resent=False) for verdict in sent]
    first = {verdict.number: verdict for verdict in sent}
    assert sorted(first) == list(range(1, len(first) + 1))
    for verdict in sent:
        assert verdict == first[verdict.number]
    taken = Counter(
        f"{look.camera} {look.entry}"
        for verdict in first.values()
        for look in looks(verdict)
        if look.entry is not None
    )
    assert taken == Counter(dict.fromkeys(entered, 1))
    for verdict in first.values():
        names = {f"{look.camera} {look.entry}" for look in looks(verdict) if look.entry is not None}
        assert len([board for board, seen in shown.items() if seen & names]) <= 1
        if verdict.verdict == "pass":
            assert len(names) == 3


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
