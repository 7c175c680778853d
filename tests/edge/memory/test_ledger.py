"""The ledger: what was entered stays until its verdict is out."""

from __future__ import annotations

from pathlib import Path

import pytest
from parts import part_of

from edge.memory.ledger import RECORD_BYTES, ROWS, Ledger, Record


def record(body: bytes, published_ns: int = 1) -> Record:
    return Record(topic=b"reject.line", body=body, reason="defect", published_ns=published_ns)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger")


def test_an_entered_part_is_read_back_whole(ledger: Ledger, tmp_path: Path) -> None:
    """Every field of a part survives, seen from a process that opens the ledger later."""
    part = part_of(0, slot=2, generation=9, captured_ns=123, deadline_ns=456)
    ledger.enter(part)
    assert Ledger.open(tmp_path / "ledger").part(0) == part


def test_parts_are_entered_in_order(ledger: Ledger) -> None:
    """A number that was left out or comes twice is a mistake of ours and said at once."""
    ledger.enter(part_of(0))
    for entry in (0, 2):
        with pytest.raises(ValueError, match="entry 1"):
            ledger.enter(part_of(entry))


def test_a_full_ledger_takes_no_part(ledger: Ledger) -> None:
    """Without verdicts the ledger fills up and overwrites nothing; one verdict makes room for one part."""
    for entry in range(ROWS):
        ledger.enter(part_of(entry))
    assert ledger.full
    with pytest.raises(ValueError, match="full"):
        ledger.enter(part_of(ROWS))
    ledger.record(0, record(b"x"))
    ledger.set_published(0)
    ledger.enter(part_of(ROWS))
    assert ledger.part(1) == part_of(1)
    assert ledger.part(ROWS) == part_of(ROWS)
    with pytest.raises(ValueError, match="entry 0"):
        ledger.part(0)


def test_a_recorded_verdict_outlives_its_writer(ledger: Ledger, tmp_path: Path) -> None:
    """Who takes over after a crash finds the verdict that was written down, and none where there was none."""
    ledger.enter(part_of(0))
    ledger.enter(part_of(1))
    ledger.record(0, record(b"{}"))
    heir = Ledger.open(tmp_path / "ledger")
    assert heir.recorded(0) == record(b"{}")
    assert heir.recorded(1) is None


def test_a_row_that_is_used_again_has_no_verdict(ledger: Ledger) -> None:
    """The verdict of the part that had the row before is not taken for the new part's."""
    for entry in range(ROWS):
        ledger.enter(part_of(entry))
        ledger.record(entry, record(b"old"))
        ledger.set_published(entry)
    ledger.enter(part_of(ROWS))
    assert ledger.recorded(ROWS) is None


def test_verdicts_are_recorded_in_order_and_fit(ledger: Ledger) -> None:
    """A verdict out of turn or too long is refused."""
    ledger.enter(part_of(0))
    ledger.enter(part_of(1))
    with pytest.raises(ValueError, match="not the next"):
        ledger.record(1, record(b"x"))
    with pytest.raises(ValueError, match="too many"):
        ledger.record(0, record(b"x" * RECORD_BYTES))


def test_the_sequence_goes_on_within_an_epoch_only(ledger: Ledger) -> None:
    """Capture that starts anew counts from 1 in its own epoch."""
    assert ledger.last_sequence(1) == 0
    ledger.enter(part_of(0))
    assert ledger.last_sequence(1) == 1
    assert ledger.last_sequence(2) == 0


def test_verdicts_are_found_by_when_they_were_recorded(ledger: Ledger) -> None:
    """Those that are out and still here, oldest first; one whose row is used again is not."""
    for entry in range(ROWS + 2):
        ledger.enter(part_of(entry))
        ledger.record(entry, record(b"%d" % entry, entry))
        ledger.set_published(entry)
    ledger.enter(part_of(ROWS + 2))
    ledger.record(ROWS + 2, record(b"not out", ROWS + 2))
    assert ledger.recorded_since(ROWS) == [record(b"%d" % entry, entry) for entry in (ROWS, ROWS + 1)]
    assert ledger.recorded_since(0) == [record(b"%d" % entry, entry) for entry in range(3, ROWS + 2)]
