"""When a subscriber asks for what it missed, and when it stops to."""

from __future__ import annotations

from edge.subscription.asking import AGAIN_NS, PAUSE_NS, Asking
from edge.subscription.order import Wanted

GAP = Wanted(run="a", first=3, last=9)


def test_it_asks_at_once_and_again_when_no_answer_comes() -> None:
    """The process that answers may just be restarting."""
    asking = Asking(10 * AGAIN_NS)
    assert [asking.step(GAP, now) for now in (5, 6, AGAIN_NS + 4, AGAIN_NS + 5)] == [
        "ask",
        "wait",
        "wait",
        "ask",
    ]


def test_it_goes_on_at_once_after_an_answer_that_brought_something() -> None:
    """A long gap is filled in many answers, one question after the other."""
    asking = Asking(10 * AGAIN_NS)
    asking.step(GAP, 0)
    asking.answered(7)
    assert asking.step(Wanted(run="a", first=5, last=9), 7) == "ask"


def test_it_pauses_after_an_answer_that_brought_nothing() -> None:
    """The verdict is published, and the process that answers has not read it yet."""
    asking = Asking(10 * AGAIN_NS)
    asking.step(GAP, 0)
    asking.answered(7)
    assert asking.step(GAP, 7 + PAUSE_NS - 1) == "wait"
    assert asking.step(GAP, 7 + PAUSE_NS) == "ask"


def test_it_gives_up_when_the_first_missing_verdict_does_not_come() -> None:
    """Later verdicts wait for a bounded time, whatever is answered. The next gap gets its own time."""
    asking = Asking(1000)
    assert asking.step(GAP, 0) == "ask"
    asking.answered(999)
    assert asking.step(GAP, 999) == "wait"
    assert asking.step(GAP, 1000) == "give up"
    assert asking.step(Wanted(run="a", first=11, last=11), 1500) == "ask"
    assert asking.step(Wanted(run="a", first=11, last=11), 2499) == "wait"


def test_each_verdict_that_comes_gives_it_new_patience() -> None:
    """A long gap may take longer to fill than one verdict may wait."""
    asking = Asking(1000)
    for first in range(3, 9):
        assert asking.step(Wanted(run="a", first=first, last=9), first * 900) == "ask"


def test_without_a_gap_it_does_nothing() -> None:
    """And a gap that begins later, at a number that was missing once before, gets its own time."""
    asking = Asking(1000)
    asking.step(GAP, 0)
    assert asking.step(None, 500) == "wait"
    assert asking.step(GAP, 1200) == "ask"
