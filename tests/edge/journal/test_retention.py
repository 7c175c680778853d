"""What a journal deletes is what the recipe says, oldest first."""

from __future__ import annotations

from edge.journal.retention import surplus

TIMES = ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-02"]


def test_rows_that_are_too_old_go_from_the_beginning_on() -> None:
    """A clock that was set back between rows makes no hole."""
    assert surplus(TIMES, "2026-11-03", too_large=False) == 2
    assert surplus(TIMES, "2026-10-31", too_large=False) == 0
    assert surplus(TIMES, "", too_large=False) == 0


def test_a_file_that_is_too_large_loses_the_oldest_rows() -> None:
    """Whatever their age."""
    assert surplus(TIMES, "", too_large=True) == 4
    assert surplus([], "", too_large=True) == 0
