"""Defines DatasetError, which lists all mistakes in a data set at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from edge.errors import EdgeError, together

Thing = TypeVar("Thing")
Read = TypeVar("Read")


class DatasetError(EdgeError, ValueError):
    """A data set cannot be used. Each text in `mistakes` says what is wrong, where, and what to do."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__(together(mistakes))
        self.mistakes = mistakes


def raise_mistakes(mistakes: Iterable[str]) -> None:
    """Raise one DatasetError that lists all the mistakes. Do nothing if there are no mistakes."""
    if found := list(mistakes):
        raise DatasetError(*found)


def read_each(read: Callable[[Thing], Read], things: Iterable[Thing]) -> tuple[list[Read], list[str]]:
    """Call `read` on each thing. Return all results, and the mistakes in the DatasetErrors of `read`."""
    done: list[Read] = []
    mistakes: list[str] = []
    for thing in things:
        try:
            done.append(read(thing))
        except DatasetError as error:
            mistakes.extend(error.mistakes)
    return done, mistakes
