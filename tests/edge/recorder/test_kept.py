"""How much of the last parts is held in memory."""

from __future__ import annotations

import boxes
import numpy as np

from edge.recorder.kept import LastParts

FRAME = np.zeros((10, 10), np.uint8)


def test_the_last_parts_are_held_up_to_a_number_and_a_size() -> None:
    """The oldest parts go first, and the memory does not grow with the time the line runs."""
    by_number, by_bytes = LastParts(3, 10_000), LastParts(100, 250)
    for number in range(1, 11):
        for last in (by_number, by_bytes):
            last.add(boxes.kept(number, FRAME if number != 9 else None))
    assert [kept.number for kept in by_number.take()] == [8, 9, 10]
    assert [kept.number for kept in by_bytes.take()] == [8, 9, 10]


def test_no_part_is_in_two_files() -> None:
    """Events that follow each other closely do not fill the disk with the same frames."""
    last = LastParts(10, 250)
    for number in (1, 2):
        last.add(boxes.kept(number, FRAME))
    assert [kept.number for kept in last.take()] == [1, 2]
    assert last.take() == ()
    for number in (3, 4):
        last.add(boxes.kept(number, FRAME))
    assert [kept.number for kept in last.take()] == [3, 4]


def test_the_part_of_the_event_is_never_missing() -> None:
    """Even a frame that is larger than the memory is held until the next part comes."""
    last = LastParts(3, 50)
    for number in (1, 2):
        last.add(boxes.kept(number, FRAME))
    assert [kept.number for kept in last.take()] == [2]
