"""Capture enters each trigger as a part, and leases a slot only for what has pixels."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from edge import recipe
from edge.errors import PartError
from edge.memory.ledger import ROWS, Ledger
from edge.memory.ring import Ring
from edge.messages import Frame, Unknown
from edge.sources import Trigger, open_source
from edge.sources.base import Source
from edge.stages.capture import Capture


def place(captured_ns: int) -> tuple[int, int]:
    """Position and deadline of a trigger on a belt with a constant speed."""
    return captured_ns, captured_ns + 10**9


def test_a_frame_that_was_let_go_takes_no_slot(tmp_path: Path) -> None:
    """Slots are for frames that can be judged; the part says why this one cannot."""
    ledger = Ledger.create(tmp_path / "ledger")
    ring = Ring.create(tmp_path / "ring", slots=3, frame=64, tensors=[], outputs=[])
    capture = Capture(ring, ledger, camera="camera", shape=(8, 8), place=place)
    section = recipe.Synthetic(width=8, height=8)
    for lost in ("newer frames came", ""):
        part = capture.enter(Trigger("camera", 1, 1, "frame 1", 2, lost))
        assert (part.slot < 0) == bool(lost)
        assert part.skipped == 2
        if lost:
            said = capture.read(open_source(section), part, lost)
            assert isinstance(said, Unknown)
            assert (said.reason, said.detail) == ("overrun", lost)


class _Damaged:
    """A source whose second picture is damaged after half of its pixels were written."""

    def __init__(self) -> None:
        self._count = 0

    def read(self, out: np.ndarray) -> None:
        self._count += 1
        if self._count == 2:
            out[:4] = 1
            raise PartError("frame", "the picture is cut off")
        out[:] = 1


def test_only_a_whole_frame_is_shown_to_those_who_keep_pictures(tmp_path: Path) -> None:
    """A damaged frame is not marked as filled, so that no half of it is kept as the part's picture."""
    ledger = Ledger.create(tmp_path / "ledger")
    ring = Ring.create(tmp_path / "ring", slots=3, frame=64, tensors=[], outputs=[])
    capture = Capture(ring, ledger, camera="camera", shape=(8, 8), place=place)
    source = cast(Source, _Damaged())
    for whole in (True, False):
        part = capture.enter(Trigger("camera", 1, 1, "frame 1", 0, ""))
        assert not ring.is_filled(part)
        assert isinstance(capture.read(source, part), Frame if whole else Unknown)
        assert ring.is_filled(part) == whole


def capture_into(folder: Path) -> tuple[Ledger, Capture]:
    """A ledger, and what enters the parts of a source that counts from 7 on."""
    ledger = Ledger.create(folder / "ledger")
    ring = Ring.create(folder / "ring", slots=3, frame=64, tensors=[], outputs=[])
    capture = Capture(ring, ledger, camera="camera", shape=(8, 8), place=place)
    enter(capture, Trigger("camera", 1000, 1000, count=7))
    return ledger, capture


def enter(capture: Capture, trigger: Trigger) -> None:
    unseen, trigger = capture.unseen(trigger)
    for one in unseen:
        capture.enter(one, seen=False)
    capture.enter(trigger)


def test_triggers_that_nobody_saw_are_parts_before_the_next_one(tmp_path: Path) -> None:
    """Also if another process of capture saw the one before: it learns the count from the ledger."""
    ledger, _ = capture_into(tmp_path)
    ring = Ring.open(tmp_path / "ring")
    successor = Capture(ring, ledger, camera="camera", shape=(8, 8), place=place)
    enter(successor, Trigger("camera", 4000, 4000, count=10))
    parts = [ledger.part(entry) for entry in range(ledger.captured)]
    assert [part.count for part in parts] == [7, 8, 9, 10]
    assert [part.is_missing for part in parts] == [False, True, True, False]
    assert [part.captured_ns for part in parts] == [1000, 2000, 3000, 4000]
    assert [part.deadline_ns - part.captured_ns for part in parts] == [10**9] * 4
    assert ring.free(0) == 1


def test_a_frame_without_a_number_is_the_next_one(tmp_path: Path) -> None:
    """Its head was damaged on the way, and it is no trigger that nobody saw."""
    ledger, capture = capture_into(tmp_path)
    enter(capture, Trigger("camera", 2000, 2000))
    enter(capture, Trigger("camera", 3000, 3000, count=9))
    assert [ledger.part(entry).count for entry in range(ledger.captured)] == [7, 8, 9]


def test_a_count_that_jumps_too_far_is_told_in_the_next_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger could not hold so many parts, and the camera may just have been exchanged."""
    ledger, capture = capture_into(tmp_path)
    enter(capture, Trigger("camera", 2000, 2000, skipped=1, count=7 + ROWS + 3))
    assert ledger.captured == 2
    assert ledger.part(1).skipped == 1 + ROWS + 1
    assert f"jumps by {ROWS + 1} to {7 + ROWS + 3}" in caplog.text
    enter(capture, Trigger("camera", 3000, 3000, count=2))
    assert ledger.captured == 3
    assert f"counts anew: trigger 2 came after {7 + ROWS + 3}" in caplog.text
