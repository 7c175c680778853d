"""A part whose process ended gets its verdict as soon as infer has answered about a later one."""

from __future__ import annotations

from pathlib import Path

import pytest
from parts import part_of

from edge.memory.ledger import Ledger
from edge.stages.lost import LostParts

OLD, NEW = 100, 200
FAILED_NS = 1000


class Table:
    """A ledger with parts that came a nanosecond apart, and what is lost of it."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger.create(folder / "ledger")
        self.failed_ns = FAILED_NS
        self.lost = LostParts({"camera": self.ledger}, lambda: self.failed_ns)
        for entry in range(6):
            self.ledger.enter(part_of(entry, captured_ns=entry + 1, deadline_ns=entry + 10_000))

    def take(self, pid: int, *entries: int) -> None:
        for entry in entries:
            self.ledger.take(entry, pid)

    def found_after(self, *answered: int) -> list[int]:
        for entry in answered:
            self.lost.answered(self.ledger.part(entry))
        return [part.entry for part in self.lost.found()]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def test_what_the_process_before_had_taken_is_lost(table: Table) -> None:
    """It died with 1 and 2 in work; the next one has answered about 4, and still works on 3."""
    table.take(OLD, 0, 1, 2)
    table.take(NEW, 3, 4, 5)
    assert table.found_after(0) == []
    assert table.found_after(4) == [0, 1, 2]


def test_what_never_came_to_infer_is_lost(table: Table) -> None:
    """The process before infer died with it, or the message was in the memory of an infer that died."""
    table.take(OLD, 0, 2, 3)
    assert table.found_after(3) == [1]


def test_what_infer_still_works_on_is_not_lost(table: Table) -> None:
    """It has answered about a later part first, on another lane."""
    table.take(OLD, 0, 1, 2)
    assert table.found_after(2) == []


def test_nothing_is_lost_if_no_process_has_ended_since(table: Table) -> None:
    """A part that was left out because its time was over is late."""
    table.failed_ns = 2
    table.take(OLD, 0, 3)
    assert table.found_after(3) == []


def test_an_answer_from_before_infer_tells_nothing(table: Table) -> None:
    """Preprocess refuses 3 itself, while infer has yet to take what came before."""
    assert table.found_after(3) == []


def test_what_has_its_verdict_is_not_lost_again(table: Table) -> None:
    """Only parts that wait are looked at."""
    table.take(NEW, 3)
    table.ledger.set_published(0)
    assert table.found_after(3) == [1, 2]
