"""The order of verdicts at a subscriber: numbers go in, verdicts in order and requests come out."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from edge.subscription.events import Missed
from edge.subscription.order import MOST_AHEAD, Order, Place, Wanted


def named(run: str, number: int) -> str:
    """What stands for a verdict here."""
    return f"{run}{number}"


def verdicts(order: Order[str], run: str, *numbers: int) -> list[str | Missed]:
    """Take verdicts with these numbers; what can be given then."""
    for number in numbers:
        order.verdict(run, number, named(run, number))
    return [item for _, item in order.take()]


def beat(order: Order[str], run: str, number: int) -> list[str | Missed]:
    order.heartbeat(run, number, f"beat {run}{number}")
    return [item for _, item in order.take()]


def test_verdicts_without_a_gap_are_given_at_once() -> None:
    """From the first that is heard, whatever its number is; nothing is asked for."""
    order = Order[str]()
    assert verdicts(order, "a", 5, 6, 7) == ["a5", "a6", "a7"]
    assert beat(order, "a", 7) == ["beat a7"]
    assert order.wanted is None


def test_what_comes_again_is_not_given_again() -> None:
    """A publish process that restarts sends its last verdicts again."""
    order = Order[str]()
    assert verdicts(order, "a", 5, 6, 5, 6, 7) == ["a5", "a6", "a7"]


def test_a_gap_is_asked_for_and_filled_in_order() -> None:
    """Later verdicts wait for it. What was filled is not asked for again."""
    order = Order[str]()
    assert verdicts(order, "a", 1, 5) == ["a1"]
    assert order.wanted == Wanted(run="a", first=2, last=4)
    assert verdicts(order, "a", 2) == ["a2"]
    assert order.wanted == Wanted(run="a", first=3, last=4)
    assert verdicts(order, "a", 3, 4) == ["a3", "a4", "a5"]
    assert order.wanted is None


def test_a_heartbeat_shows_a_gap_at_the_end() -> None:
    """The last verdicts before a pause may be the ones that are lost. The heartbeat comes after them."""
    order = Order[str]()
    verdicts(order, "a", 1)
    assert beat(order, "a", 3) == []
    assert order.wanted == Wanted(run="a", first=2, last=3)
    assert verdicts(order, "a", 2, 3) == ["a2", "a3", "beat a3"]


def test_who_comes_while_nothing_moves_misses_nothing_afterwards() -> None:
    """The first heartbeat says where it begins."""
    order = Order[str]()
    assert beat(order, "a", 41) == ["beat a41"]
    assert verdicts(order, "a", 44) == []
    assert order.wanted == Wanted(run="a", first=42, last=43)


def test_what_the_line_no_longer_has_is_reported_as_lost() -> None:
    """In its place among the others, as one range each, and never as a verdict."""
    order = Order[str]()
    verdicts(order, "a", 1, 6, 9)
    verdicts(order, "a", 4)
    order.answered("a", 5)
    given = [item for _, item in order.take()]
    assert given == [Missed(run="a", first=2, last=3), "a4", Missed(run="a", first=5, last=5), "a6"]
    assert order.wanted == Wanted(run="a", first=7, last=8)


def test_an_answer_loses_nothing_that_was_not_asked_for() -> None:
    """One that names too high a number, another run, or comes when nothing is missing changes nothing."""
    order = Order[str]()
    verdicts(order, "a", 1, 4)
    order.answered("b", 9)
    assert order.take() == []
    order.answered("a", 9)
    assert [item for _, item in order.take()] == [Missed(run="a", first=2, last=3), "a4"]
    order.answered("a", 9)
    assert order.take() == []
    assert verdicts(order, "a", 5) == ["a5"]


def test_the_rest_of_a_run_that_ended_is_asked_for() -> None:
    """A heartbeat of the next run says that the line was restarted. Its verdicts wait for the old ones."""
    order = Order[str]()
    verdicts(order, "a", 1, 2)
    assert verdicts(order, "b", 1) == []
    assert order.wanted is None  # it may be of an older run still
    assert beat(order, "b", 1) == []
    assert order.wanted == Wanted(run="a", first=3, last=None)
    assert verdicts(order, "a", 3) == ["a3"]
    order.answered("a", 3)
    assert order.take() == []  # the run may still get verdicts
    order.answered("a", 3, ended=True)
    assert [item for _, item in order.take()] == ["b1", "beat b1"]
    assert order.wanted is None


def test_all_runs_between_are_asked_for() -> None:
    """A line that was restarted twice meanwhile had a run that the subscriber never heard of."""
    order = Order[str]()
    verdicts(order, "a", 1)
    beat(order, "c", 2)
    order.answered("a", 1, ended=True, then="b")
    assert order.wanted == Wanted(run="b", first=1, last=None)
    assert verdicts(order, "b", 1) == ["b1"]
    order.answered("b", 1, ended=True, then="c")
    assert order.wanted == Wanted(run="c", first=1, last=2)
    assert verdicts(order, "c", 1, 2) == ["c1", "c2", "beat c2"]


def test_a_circle_of_runs_ends() -> None:
    """An answer that names a run which was left already leads on to the run that goes on."""
    order = Order[str]()
    verdicts(order, "a", 1)
    beat(order, "c", 0)
    order.answered("a", 1, ended=True, then="a")
    assert [item for _, item in order.take()] == ["beat c0"]


def test_when_nobody_answers_the_gap_is_lost() -> None:
    """The subscriber goes on, and it is told what it missed."""
    order = Order[str]()
    verdicts(order, "a", 1, 4)
    order.give_up()
    assert [item for _, item in order.take()] == [Missed(run="a", first=2, last=3), "a4"]
    beat(order, "b", 0)
    order.give_up()
    assert [item for _, item in order.take()] == [Missed(run="a", first=5, last=None), "beat b0"]
    order.give_up()
    assert order.take() == []


def test_after_a_run_without_a_known_end_the_run_that_followed_comes() -> None:
    """What came at its end is lost, and the runs between it and the one that goes on are not."""
    order = Order[str]()
    verdicts(order, "a", 1)
    beat(order, "c", 0)
    order.give_up(then="b")
    assert [item for _, item in order.take()] == [Missed(run="a", first=2, last=None)]
    assert order.wanted == Wanted(run="b", first=1, last=None)


def test_verdicts_of_a_run_that_is_over_are_ignored() -> None:
    """The next publish sends them again to whoever comes, so they come to others too."""
    order = Order[str]()
    verdicts(order, "a", 1, 2)
    beat(order, "b", 0)
    order.answered("a", 2, ended=True)
    order.take()
    assert verdicts(order, "a", 1, 2, 3) == []
    assert beat(order, "a", 3) == []
    assert verdicts(order, "b", 1) == ["b1"]


def test_verdicts_of_an_unknown_older_run_are_no_gap() -> None:
    """They are of a run before this subscriber came, and another one may have missed them."""
    order = Order[str]()
    beat(order, "b", 0)
    assert verdicts(order, "a", 7, 8) == []
    assert beat(order, "b", 0) == ["beat b0"]
    assert verdicts(order, "b", 1) == ["b1"]
    assert order.wanted is None


def test_it_goes_on_where_it_stopped() -> None:
    """After a place that was noted before, in this run or in one before it."""
    order = Order[str](Place(run="a", number=4))
    beat(order, "a", 6)
    assert order.wanted == Wanted(run="a", first=5, last=6)
    order = Order[str](Place(run="a", number=4))
    beat(order, "b", 6)
    assert order.wanted == Wanted(run="a", first=5, last=None)


def test_it_starts_at_a_number_of_the_run_that_goes_on() -> None:
    """Whatever verdicts of earlier runs come first: the heartbeat says which run goes on."""
    order = Order[str](Place(number=2))
    assert verdicts(order, "a", 9) == []
    assert verdicts(order, "b", 5) == []
    assert beat(order, "b", 5) == []
    assert order.wanted == Wanted(run="b", first=3, last=4)
    assert verdicts(order, "b", 3, 4) == ["b3", "b4", "b5", "beat b5"]


def test_the_place_is_that_of_what_was_given() -> None:
    """So a subscriber that confirms it, or notes it, has handled all up to there."""
    order = Order[str]()
    for number in (1, 2, 5):
        order.verdict("a", number, named("a", number))
    order.answered("a", 4)
    order.heartbeat("a", 5, "beat")
    places = [(place.run, place.number) for place, _ in order.take()]
    assert places == [("a", 1), ("a", 2), ("a", 4), ("a", 5), ("a", 5)]


def test_memory_is_bounded() -> None:
    """While a gap is open, it says when to take no more."""
    order = Order[str]()
    verdicts(order, "a", 1, *range(3, MOST_AHEAD + 3))
    assert order.is_full
    verdicts(order, "a", 2)
    assert not order.is_full


def test_memory_for_a_run_to_come_is_bounded() -> None:
    """What comes of it beyond the bound, before its first heartbeat, is asked for later."""
    order = Order[str]()
    verdicts(order, "a", 1)
    verdicts(order, "b", *range(1, MOST_AHEAD + 100))
    assert order.is_full
    beat(order, "b", MOST_AHEAD + 99)
    order.answered("a", 1, ended=True)
    assert len(order.take()) == MOST_AHEAD
    assert order.wanted == Wanted(run="b", first=MOST_AHEAD + 1, last=MOST_AHEAD + 99)


@given(st.integers(0, 2**32), st.floats(0, 0.9), st.floats(0, 0.9))
def test_each_verdict_is_given_once_and_in_order(seed: int, dropped: float, gone: float) -> None:
    """Whatever is lost on the way, doubled, or no longer kept by the line, over several runs."""
    chance = random.Random(seed)
    order, given = Order[str](Place(run="a", number=0)), list[str | Missed]()
    runs = {run: chance.randrange(1, 30) for run in "abc"}
    kept = {run: {n for n in range(1, most + 1) if chance.random() >= gone} for run, most in runs.items()}

    def answer() -> None:
        while (wanted := order.wanted) is not None:
            run, last = wanted.run, runs[wanted.run] if wanted.last is None else wanted.last
            upto = min(last, wanted.first + chance.randrange(5))
            for number in range(wanted.first, upto + 1):
                if number in kept[run]:
                    order.verdict(run, number, named(run, number))
            over = wanted.last is None and upto >= runs[run]
            order.answered(run, upto, ended=over, then={"a": "b", "b": "c", "c": ""}[run] if over else "")
            given.extend(item for _, item in order.take())

    heard: dict[str, set[int]] = {run: set() for run in runs}
    for run, most in runs.items():
        if run == "b" and chance.random() < 0.5:
            continue  # the subscriber was away for the whole run
        for number in range(1, most + 1):
            for _ in range(chance.choice((1, 1, 2))):
                if chance.random() >= dropped:
                    order.verdict(run, number, named(run, number))
                    heard[run].add(number)
            if chance.random() < 0.1:
                order.heartbeat(run, number, "beat")
                answer()
    order.heartbeat("c", runs["c"], "beat")
    answer()
    given.extend(item for _, item in order.take())

    wished = []
    for run, most in runs.items():
        wished += [named(run, n) for n in range(1, most + 1)]
    told = []
    for item in given:
        if isinstance(item, Missed):
            assert item.last is not None
            numbers = range(item.first, item.last + 1)
            assert not set(numbers) & kept[item.run]
            assert not set(numbers) & heard[item.run]
            told += [named(item.run, n) for n in numbers]
        elif item != "beat":
            told.append(item)
    assert told == wished
