"""Capture enters each trigger as a part, and leases a slot only for what has pixels."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from edge import recipe
from edge.errors import PartError
from edge.memory.ledger import Ledger
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
