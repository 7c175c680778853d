"""What the ejector cannot tell apart is blown off together, and each verdict says so."""

from __future__ import annotations

import pytest

from edge.belt.gap import Neighbour, cannot_stay, undecided


def row(*parts: tuple[int, bool | None]) -> list[Neighbour]:
    return [Neighbour(name=f"p{at}", position=at, rejected=rejected) for at, rejected in parts]


@pytest.mark.parametrize(
    ("others", "passed", "found"),
    [
        (row((0, False)), 999, False),
        (row((60, True)), 999, "p60"),
        (row((140, True)), 999, "p140"),
        (row((149, False), (198, True)), 999, "p198"),
        (row((149, False), (199, True)), 999, False),
        (row((55, False), (10, True)), 999, "p10"),
        (row((150, True), (50, True)), 999, False),
        (row((100, True)), 999, "p100"),
        (row((149, None)), 999, True),
        (row((149, None), (60, True)), 999, "p60"),
        (row(), 149, True),
        (row(), 150, False),
        (row((140, False)), 189, True),
        (row((140, False)), 190, False),
    ],
    ids=[
        "far away",
        "a rejected part before it",
        "one behind it",
        "one behind a good one that is near to both",
        "just far enough from the good one",
        "one before a good one",
        "exactly as far as the ejector needs",
        "at the same place",
        "not decided yet",
        "a decision that another reject has made already",
        "one may still come",
        "none can come any more",
        "one may still come behind the good one",
        "none can come behind the good one",
    ],
)
def test_a_part_near_to_a_rejected_one_cannot_stay(
    others: list[Neighbour], passed: int, found: str | bool
) -> None:
    """A part at 100 with an ejector that parts 50: rejected neighbours count, in a row as long as it gets."""
    answer = cannot_stay(100, others, 50, passed)
    assert (answer.name if isinstance(answer, Neighbour) else answer) == found


def test_without_a_gap_neighbours_do_not_matter() -> None:
    """A recipe that names no min_gap decides each part by itself, at once."""
    assert cannot_stay(100, row((100, True), (101, None)), 0, 0) is False


def test_the_undecided_neighbour_is_named() -> None:
    """The verdict of a part that could not wait names the nearest part whose decision was not there."""
    named = undecided(100, row((130, False), (160, None), (190, None), (40, None)), 50)
    assert named is not None
    assert named.name == "p160"
    assert undecided(100, row((160, None)), 50) is None
