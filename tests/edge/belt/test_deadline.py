"""The deadline by which stages plan: it follows the belt, and is the same for each camera's look of a part."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from parts import part_of

from edge.belt.course import ByEncoder, ByTime
from edge.belt.deadline import deadline_at_capture, deadline_of_looks
from edge.belt.layout import Layout
from edge.belt.match import Station
from edge.belt.places import NOWHERE
from edge.belt.track import NEVER, STALE_NS, Track
from edge.messages import Part

MS = 1_000_000
LAYOUT = Layout(
    stations=(Station(name="side", at=400, window=50),),
    by_encoder=True,
    several=True,
    eject_at=1000,
    lead_ns=100 * MS,
    deadline_ns=500 * MS,
)


class Belt:
    """A belt that starts at tick 5000, and the parts on it."""

    def __init__(self, folder: Path, layout: Layout = LAYOUT) -> None:
        self.track, self.layout = Track.create(folder / "track"), layout
        self.now_ns, self.ticks = 0, 5000.0
        self.run(200, 1.0)

    def run(self, ms: int, speed: float) -> None:
        """Let the belt run, at `speed` ticks a millisecond."""
        for _ in range(ms // 10):
            self.now_ns += 10 * MS
            self.ticks += 10 * speed
            self.track.write(self.now_ns, round(self.ticks), 0)

    def part(self, camera: str) -> Part:
        """A look of a camera that is triggered now."""
        course, position = ByEncoder(self.track), round(self.ticks)
        at_capture = deadline_at_capture(self.layout, course, camera, self.now_ns, position)
        part = part_of(0, captured_ns=self.now_ns, deadline_ns=at_capture)
        return msgspec.structs.replace(part, camera=camera, position=position)

    def deadline_ns(self, part: Part) -> int:
        """Its deadline as it is known now."""
        return deadline_of_looks(self.layout, ByEncoder(self.track))(part, self.now_ns)


@pytest.fixture
def belt(tmp_path: Path) -> Belt:
    return Belt(tmp_path)


def test_a_belt_that_slows_down_gives_a_part_more_time(belt: Belt) -> None:
    """Half of the speed is twice the time; a belt that stands or goes back gives it without end."""
    part = belt.part("top")
    assert belt.deadline_ns(part) == part.deadline_ns == belt.now_ns + 900 * MS
    belt.run(200, 0.5)
    assert belt.deadline_ns(part) == belt.now_ns + (900 * 2 - 100) * MS
    for speed in (0.0, -0.2):
        belt.run(200, speed)
        assert belt.deadline_ns(part) == NEVER - LAYOUT.lead_ns
    belt.run(200, 1.0)
    assert belt.now_ns < belt.deadline_ns(part) < belt.now_ns + 900 * MS


def test_a_belt_that_runs_faster_takes_time_from_a_part(belt: Belt) -> None:
    """And a part that is past the ejector has none left."""
    part = belt.part("top")
    belt.run(200, 2.0)
    assert belt.deadline_ns(part) == belt.now_ns + (600 // 2 - 100) * MS
    belt.run(400, 2.0)
    assert belt.deadline_ns(part) <= belt.now_ns


def test_each_look_of_a_part_has_the_deadline_of_the_part(belt: Belt) -> None:
    """However the belt has run between the cameras."""
    first = belt.part("top")
    belt.run(400, 0.5)
    belt.run(200, 1.0)
    look = belt.part("side")
    assert look.position == first.position + 400
    belt.run(200, 0.25)
    assert belt.deadline_ns(look) == belt.deadline_ns(first) > look.deadline_ns


def test_without_a_place_or_an_encoder_that_answers_the_deadline_of_the_trigger_counts(belt: Belt) -> None:
    """Nobody knows a better one."""
    part = belt.part("top")
    nowhere = msgspec.structs.replace(part, position=NOWHERE)
    belt.run(200, 0.0)
    assert belt.deadline_ns(nowhere) == part.deadline_ns
    belt.now_ns += STALE_NS + 1
    assert belt.deadline_ns(part) == part.deadline_ns


@pytest.mark.parametrize(
    "layout",
    [
        Layout(deadline_ns=500 * MS),
        Layout(several=True, eject_at=1000 * MS, lead_ns=100 * MS),
        Layout(by_encoder=True, deadline_ns=500 * MS),
    ],
    ids=["no belt", "a belt by time", "an encoder without an ejector"],
)
def test_other_lines_have_the_deadline_of_the_trigger(layout: Layout, tmp_path: Path) -> None:
    """It is read from the part alone, at no cost."""
    deadline = deadline_of_looks(
        layout, ByEncoder(Track.create(tmp_path / "track")) if layout.by_encoder else ByTime()
    )
    assert deadline(part_of(3, deadline_ns=77), 1000 * MS) == 77
