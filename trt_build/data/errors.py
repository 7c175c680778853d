"""Defines the error for a data set that cannot be used. It lists all mistakes in the data set at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from edge.errors import EdgeError, together

Thing = TypeVar("Thing")
Read = TypeVar("Read")


class DatasetError(EdgeError, ValueError):
    """The error for a data set that cannot be used. Each of its `mistakes` names a file and says what to do."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__(together(mistakes))
        self.mistakes = mistakes


def raise_mistakes(mistakes: Iterable[str]) -> None:
    """Raise one DatasetError that lists all the mistakes. Do nothing if there are no mistakes."""
    if found := list(mistakes):
        raise DatasetError(*found)


def read_each(read: Callable[[Thing], Read], things: Iterable[Thing]) -> tuple[list[Read], list[str]]:
    """Call `read` on each thing. Return the results, and the mistakes of the things that could not be read."""
    done: list[Read] = []
    mistakes: list[str] = []
    for thing in things:
        try:
            done.append(read(thing))
        except DatasetError as error:
            mistakes.extend(error.mistakes)
    return done, mistakes
