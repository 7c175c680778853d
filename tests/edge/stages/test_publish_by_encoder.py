"""Where an encoder tells the belt's position, looks and verdicts follow the position and not the time."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from belt_desk import GUARD_NS, MS, BeltDesk
from belt_stations import looks, told

from edge.belt.course import ByEncoder
from edge.belt.layout import Layout
from edge.belt.match import Station
from edge.belt.places import NOWHERE
from edge.belt.track import STALE_NS, Track
from edge.stages.publisher import ANSWERS_NS

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


def test_once_capture_has_ended_a_part_waits_for_no_look_that_cannot_come(
    ticking: BeltDesk, encoder: Encoder
) -> None:
    """Though the belt stands before the side camera: the part is missing there. A stray look is told too."""
    ticking.judge(ticking.enter("top", encoder.now_ns))
    ticking.judge(ticking.enter("side", encoder.now_ns))
    now_ns = encoder.run(500, 0)
    assert [verdict.reason for _, verdict in ticking.publish(now_ns)] == ["stray"]
    ticking.judge(ticking.enter("side", now_ns, encoder.ticks + 5000))
    assert ticking.publish(now_ns) == []
    ticking.publisher.end(now_ns)
    (stray, (topic, verdict)) = ticking.publish(now_ns)
    assert stray[1].reason == "stray"
    assert (topic, told(verdict)) == ("reject.caps", ("unknown", "missing", ["clean", "missing"]))
    assert (verdict.eject_at_ns, verdict.tick) == (None, 100 + 2000)


@pytest.mark.parametrize("answered", [True, False])
def test_once_capture_has_ended_an_answer_is_awaited_for_a_while(
    ticking: BeltDesk, encoder: Encoder, answered: bool
) -> None:
    """Also where the belt stands and there is no deadline: a part that nobody judges by then is late."""
    part = ticking.enter("top", encoder.now_ns)
    now_ns = encoder.run(500, 0)
    ticking.publisher.end(now_ns)
    last_ns = now_ns + BY_ENCODER.deadline_ns + ANSWERS_NS - GUARD_NS
    encoder.run((last_ns - now_ns) // MS, 0)
    assert ticking.publish(last_ns - 1) == []
    if answered:
        ticking.judge(part)
    ((_, verdict),) = ticking.publish(last_ns)
    assert looks(verdict)[0].reason == ("clean" if answered else "late")
    assert verdict.reason in ("missing", "late")


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
