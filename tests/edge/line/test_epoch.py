"""The epoch: no part_id comes twice, whatever becomes of the disk or of the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import LineError
from edge.line.epoch import next_epoch


def test_each_start_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    """Also within one second, and for each line by itself."""
    epochs = [next_epoch(tmp_path, "a") for _ in range(5)]
    assert epochs == sorted(set(epochs))
    assert next_epoch(tmp_path, "b") <= epochs[-1]


def test_a_clock_that_was_set_back_repeats_none(tmp_path: Path) -> None:
    """What the disk says is the least."""
    (tmp_path / "a.epoch").write_text("9999999999")
    assert next_epoch(tmp_path, "a") == 10**10


@pytest.mark.parametrize("lost", ["deleted", "an old copy"])
def test_a_disk_that_lost_it_repeats_none(tmp_path: Path, lost: str) -> None:
    """The time of day goes on where the file does not."""
    before = next_epoch(tmp_path, "a")
    if lost == "deleted":
        (tmp_path / "a.epoch").unlink()
    else:
        (tmp_path / "a.epoch").write_text("3")
    assert next_epoch(tmp_path, "a") >= before > 1_700_000_000  # no start of a line takes less than a second


def test_a_disk_that_cannot_keep_it_starts_nothing(tmp_path: Path) -> None:
    """The error names the file and says what to do."""
    with pytest.raises(LineError, match="cannot count up"):
        next_epoch(tmp_path / "missing", "a")
    (tmp_path / "a.epoch").write_text("")
    with pytest.raises(LineError, match="delete it"):
        next_epoch(tmp_path, "a")
