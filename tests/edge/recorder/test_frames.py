"""Frames that are copied out of slots while a line runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from parts import part_of

from edge.memory.ledger import Ledger, Record
from edge.memory.ring import Ring, as_image
from edge.messages import Part
from edge.recorder.frames import Frames
from edge.recorder.kept import Look

SHAPE = (4, 6)


class Line:
    """Capture and publish as the recorder sees them, through shared memory."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger.create(folder / "ledger")
        self.ring = Ring.create(folder / "ring", slots=3, frame=24, tensors=[], outputs=[])
        self.frames = Frames(self.ledger, self.ring, SHAPE)

    def enter(self) -> Part:
        entry = self.ledger.captured
        slot, generation = self.ring.lease(entry, self.ledger.published)
        return self.ledger.enter(part_of(entry, slot=slot, generation=generation))

    def fill(self, part: Part) -> None:
        with self.ring.area(part, "frame") as area:
            as_image(area, SHAPE)[:] = part.entry
        self.ring.set_filled(part)

    def publish(self) -> None:
        entry = self.ledger.published
        self.ledger.record(entry, Record(topic=b"t", body=b"{}", reason="clean", published_ns=1))
        self.ledger.set_published(entry)


def taken(frames: Frames, part: Part) -> Look:
    look = frames.take(part.entry)
    assert look is not None
    return look


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_a_frame_outlives_its_slot(line: Line) -> None:
    """A frame that was copied in time is the part's own, however often the slot was leased since."""
    parts = []
    for _ in range(9):
        parts.append(part := line.enter())
        line.fill(part)
        line.frames.copy()
        line.publish()
    for part in parts[3:]:
        look = taken(line.frames, part)
        assert look.part == part
        assert look.frame is not None
        assert (look.frame == part.entry).all()
        assert look.frame.shape == SHAPE


def test_a_frame_that_is_not_whole_is_no_picture(line: Line) -> None:
    """Until capture has written the frame, the slot shows an earlier part, never taken for this one."""
    first = line.enter()
    line.fill(first)
    line.publish()
    for _ in range(2):
        line.enter()
        line.publish()
    late = line.enter()
    assert late.slot == first.slot
    line.frames.copy()
    assert taken(line.frames, late).frame is None
    line.fill(late)
    line.frames.copy()
    assert taken(line.frames, late).frame is None, "its verdict was there before its frame"


def test_a_frame_that_was_overwritten_is_counted(line: Line) -> None:
    """If the recorder came too late, the part has no picture, and the loss is told."""
    first = line.enter()
    line.fill(first)
    line.publish()
    for _ in range(3):
        line.fill(line.enter())
        line.publish()
    line.frames.copy()
    assert line.frames.lost == 1
    assert taken(line.frames, first).frame is None


def test_a_slot_leased_during_the_copy_is_noticed(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that changes while it is copied is never kept."""
    first = line.enter()
    line.fill(first)
    line.publish()
    for _ in range(2):
        line.enter()
        line.publish()
    real = Ring.is_filled

    def filled(ring: Ring, part: Part) -> bool:
        found = real(ring, part)
        if part.entry == first.entry:
            line.fill(line.enter())
        return found

    monkeypatch.setattr(Ring, "is_filled", filled)
    line.frames.copy()
    assert taken(line.frames, first).frame is None
    assert line.frames.lost == 1


def test_a_part_without_a_slot_has_no_picture(line: Line) -> None:
    """A part that found no free slot is kept without a frame, and is no loss of the recorder's."""
    for _ in range(4):
        last = line.enter()
    assert last.slot == -1
    line.frames.copy()
    assert taken(line.frames, last).frame is None
    assert line.frames.lost == 0


def test_frames_that_no_verdict_asks_for_do_not_fill_the_memory(line: Line) -> None:
    """As many frames as twice the slots are held at most; what is dropped is counted."""
    for _ in range(20):
        line.fill(line.enter())
        line.frames.copy()
        line.publish()
    assert line.frames.lost == 14
    kept = [taken(line.frames, line.ledger.part(entry)).frame for entry in range(20)]
    assert [frame is not None for frame in kept] == [False] * 14 + [True] * 6


def test_a_recorder_that_starts_later_leaves_out_what_has_its_verdict(line: Line) -> None:
    """After a restart it begins with the parts that are on the line."""
    done = line.enter()
    line.fill(done)
    line.publish()
    waiting = line.enter()
    line.fill(waiting)
    successor = Frames(line.ledger, line.ring, SHAPE)
    successor.copy()
    assert taken(successor, done).frame is None
    found = taken(successor, waiting).frame
    assert isinstance(found, np.ndarray)
    assert msgspec.structs.asdict(waiting)["entry"] == found[0, 0]
