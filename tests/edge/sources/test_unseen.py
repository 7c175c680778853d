"""Triggers that a source counted and nobody saw are found, each in its place, and none is made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.sources import EarlierPicture, Trigger
from edge.sources.unseen import Gap, gap_before

SECOND = 10**9
LAST = EarlierPicture("", captured_at_ns=70 * SECOND, captured_ns=10 * SECOND, count=5)
NEXT = Trigger("top", captured_ns=14 * SECOND, captured_at_ns=74 * SECOND, count=9)


def test_unseen_triggers_are_spread_over_the_time_between() -> None:
    """Three triggers between number 5 at 10 s and number 9 at 14 s were at 11, 12 and 13 s."""
    unseen = gap_before(NEXT, LAST, 100).unseen
    assert [trigger.count for trigger in unseen] == [6, 7, 8]
    assert [trigger.captured_ns for trigger in unseen] == [11 * SECOND, 12 * SECOND, 13 * SECOND]
    assert [trigger.captured_at_ns for trigger in unseen] == [71 * SECOND, 72 * SECOND, 73 * SECOND]
    assert {trigger.view for trigger in unseen} == {""}


@pytest.mark.parametrize(
    ("trigger", "last"),
    [
        (replace(NEXT, count=6), LAST),
        (replace(NEXT, count=-1), LAST),
        (NEXT, replace(LAST, count=-1)),
        (NEXT, None),
        (replace(NEXT, skipped=3), LAST),
        (replace(NEXT, skipped=9), LAST),
    ],
    ids=["the next", "no count", "no count before", "the first", "skipped on purpose", "more skipped"],
)
def test_no_part_is_made_up(trigger: Trigger, last: EarlierPicture | None) -> None:
    """Without a gap in the counts, or without counts, nothing is missing."""
    assert gap_before(trigger, last, 100) == Gap()


def test_some_skipped_and_some_lost() -> None:
    """Of three frames between two, one was skipped on purpose, so two are missing."""
    assert len(gap_before(replace(NEXT, skipped=1), LAST, 100).unseen) == 2


@pytest.mark.parametrize("count", [5, 1, 0])
def test_a_count_that_goes_back_is_told_and_costs_nothing(count: int) -> None:
    """A camera that was switched off and on counts from the beginning."""
    assert gap_before(replace(NEXT, count=count), LAST, 100) == Gap(back_from=5)


def test_a_jump_too_large_to_be_true_is_a_number() -> None:
    """A million parts would bury those that are real."""
    assert len(gap_before(replace(NEXT, count=106), LAST, 100).unseen) == 100
    assert gap_before(replace(NEXT, count=107), LAST, 100) == Gap(lost=101)
    assert gap_before(replace(NEXT, count=2**62), LAST, 100) == Gap(lost=2**62 - 6)
