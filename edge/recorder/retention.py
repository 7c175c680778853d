"""Decides which files are deleted: those that are too old, and the oldest if all together are too large."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: Files that are too large together are deleted down to this share of the limit, so not at each new file.
ROOM = 0.95


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file that was kept: its path, its size, and when it was written (ns of the wall clock)."""

    path: str
    nbytes: int
    at_ns: int
    is_sample: bool = False  # one of the sample of passed parts, which are deleted before all others


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large the files may be together, and how old a file and a sample of a passed part may become."""

    nbytes: int
    age_ns: int
    sample_age_ns: int


def surplus(stored: Iterable[Stored], limits: Limits, now_ns: int) -> list[Stored]:
    """Return the files to delete: those that are too old and, if space is short, samples and then the oldest.

    `now_ns` is the wall clock's time.
    """
    gone: list[Stored] = []
    left: list[Stored] = []
    for one in stored:
        age_ns = limits.sample_age_ns if one.is_sample else limits.age_ns
        (gone if now_ns - one.at_ns > age_ns else left).append(one)
    total = sum(one.nbytes for one in left)
    if total <= limits.nbytes:
        return gone
    for one in sorted(left, key=lambda one: (not one.is_sample, one.at_ns, one.path)):
        if total <= ROOM * limits.nbytes:
            break
        gone.append(one)
        total -= one.nbytes
    return gone
