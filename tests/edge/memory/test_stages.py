"""The rows of a line's processes, which the supervisor and the processes themselves write."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import LineError
from edge.memory.ledger import Ledger
from edge.memory.stages import Stages

NAMES = ["capture.top", "capture.side", "infer", "publish"]


def test_what_one_process_writes_the_others_read(tmp_path: Path) -> None:
    """Each process has a row of its own, and all know the same run."""
    made = Stages.create(tmp_path / "stages", NAMES)
    for place, name in enumerate(NAMES):
        made[name]["pid"] = 100 + place
    read = Stages.open(tmp_path / "stages")
    assert list(read) == NAMES
    assert [int(read[name]["pid"][0]) for name in NAMES] == [100, 101, 102, 103]
    assert read.run == made.run
    assert read.run != Stages.create(tmp_path / "others", NAMES).run


def test_another_file_is_refused(tmp_path: Path) -> None:
    """A ledger is not taken for the rows of processes."""
    Ledger.create(tmp_path / "ledger")
    with pytest.raises(LineError, match="another version"):
        Stages.open(tmp_path / "ledger")
