"""Capture enters each trigger as a part, and leases a slot only for what has pixels."""

from __future__ import annotations

from pathlib import Path

from edge import recipe
from edge.memory.ledger import Ledger
from edge.memory.ring import Ring
from edge.messages import Unknown
from edge.sources import Trigger, open_source
from edge.stages.capture import Capture


def test_a_frame_that_was_let_go_takes_no_slot(tmp_path: Path) -> None:
    """Slots are for frames that can be judged; the part says why this one cannot."""
    ledger = Ledger.create(tmp_path / "ledger")
    ring = Ring.create(tmp_path / "ring", slots=3, frame=64, tensors=[], outputs=[])
    capture = Capture(ring, ledger, camera="camera", shape=(8, 8), deadline_ns=10**9)
    section = recipe.Synthetic(width=8, height=8)
    for lost in ("newer frames came", ""):
        part = capture.enter(Trigger("camera", 1, 1, "frame 1", 2, lost))
        assert (part.slot < 0) == bool(lost)
        assert part.skipped == 2
        if lost:
            said = capture.read(open_source(section), part, lost)
            assert isinstance(said, Unknown)
            assert (said.reason, said.detail) == ("overrun", lost)
