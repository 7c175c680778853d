"""Batches are made ahead of the training, in order, and a failure or a stop leaves no thread behind."""

from __future__ import annotations

import threading
import time

import pytest

from trt_build.methods.ahead import Ahead


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("batches")}


@pytest.mark.parametrize("ahead", [0, 1, 4, 20])
def test_every_result_comes_once_and_in_order(ahead: int) -> None:
    """As often as they are asked for."""
    batches = Ahead(lambda number: number * number, 10, ahead)
    assert len(batches) == 10
    assert list(batches) == list(batches) == [number * number for number in range(10)]


def test_so_many_are_made_before_they_are_asked_for() -> None:
    """While one is worked on, the next are made, and no more than were allowed."""
    made: list[int] = []
    batches = iter(Ahead(made.append, 10, 3))
    next(batches)
    end = time.monotonic() + 20
    while len(made) < 4 and time.monotonic() < end:
        time.sleep(0.001)
    assert made == [0, 1, 2, 3]
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert len(made) <= 5


@pytest.mark.parametrize("ahead", [0, 4])
def test_a_failure_is_raised_where_its_result_is_asked_for(ahead: int) -> None:
    """What came before is given out first."""

    def make(number: int) -> int:
        if number == 2:
            raise ValueError("no such picture")
        return number

    batches = iter(Ahead(make, 5, ahead))
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ValueError, match="no such picture"):
        next(batches)
    assert not threads()


def test_a_training_that_stops_leaves_no_thread() -> None:
    """Whoever breaks out of the loop waits for the batch in work, and for no other."""
    started: list[int] = []

    def make(number: int) -> int:
        started.append(number)
        return number

    for _ in Ahead(make, 100_000, 2):
        break
    assert not threads()
    assert len(started) < 100
