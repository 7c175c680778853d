"""The error of a data set that cannot be used; it tells all mistakes in the data set at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from edge.errors import EdgeError, together

Thing = TypeVar("Thing")
Read = TypeVar("Read")


class DatasetError(EdgeError, ValueError):
    """A data set that cannot be used as it is; `mistakes` says of each file what is wrong and what to do."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__(together(mistakes))
        self.mistakes = mistakes


def raise_mistakes(mistakes: Iterable[str]) -> None:
    """Raise one DatasetError of all mistakes; do nothing where there are none."""
    if found := list(mistakes):
        raise DatasetError(*found)


def read_each(read: Callable[[Thing], Read], things: Iterable[Thing]) -> tuple[list[Read], list[str]]:
    """Read each thing; return what was read, and the mistakes in the others."""
    done: list[Read] = []
    mistakes: list[str] = []
    for thing in things:
        try:
            done.append(read(thing))
        except DatasetError as error:
            mistakes.extend(error.mistakes)
    return done, mistakes
