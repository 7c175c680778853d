"""Decides what is deleted: files of days long ago, and the oldest if all together are too large."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from .names import Kind

#: Files that are too large together are deleted down to this share of the limit, so not at each new file.
ROOM = 0.95


@dataclass(frozen=True, kw_only=True)
class Group:
    """All files of one kind of one day (`2026-01-31`)."""

    day: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file of a group: its name, its size, and when it was written (ns of the wall clock)."""

    name: str
    nbytes: int
    at_ns: int


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large the files may be together, and for how many days other files and samples are kept."""

    nbytes: int
    days: int
    sample_days: int


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Of a group, the oldest files that have at least `nbytes` together are to be deleted; None: all files."""

    group: Group
    nbytes: int | None


def surplus(nbytes: Mapping[Group, int], limits: Limits, today: str) -> list[Cut]:
    """Return what is to be deleted: what is too old and, if space is short, samples and then the oldest.

    `nbytes` has the size of each group. A file is too old when so many whole days lie between its day and
    `today`. A day later than tomorrow was written with a wrong clock. Nobody knows its age, so if space is
    short, it goes before the other days.
    """
    first = {"other": _before(today, limits.days), "sample": _before(today, limits.sample_days)}
    cuts = [Cut(group=group, nbytes=None) for group in nbytes if group.day < first[group.kind]]
    gone = {cut.group for cut in cuts}
    left = [group for group in nbytes if group not in gone]
    too_much = sum(nbytes[group] for group in left)
    if too_much <= limits.nbytes:
        return cuts
    too_much -= round(ROOM * limits.nbytes)
    tomorrow = _before(today, -1)
    for group in sorted(left, key=lambda one: (one.kind != "sample", one.day <= tomorrow, one.day)):
        if too_much <= 0:
            break
        cuts.append(Cut(group=group, nbytes=None if nbytes[group] <= too_much else too_much))
        too_much -= nbytes[group]
    return cuts


def _before(day: str, days: int) -> str:
    # Whatever the recipe asks for: there is no day before the year 1.
    return date.fromordinal(max(1, date.fromisoformat(day).toordinal() - days)).isoformat()


def oldest(files: Iterable[Stored], nbytes: int) -> list[Stored]:
    """Return the oldest files, in order, that have at least `nbytes` (above 0) together; all if they have less.

    Of many files, it holds no more in memory than it returns.
    """
    held: list[tuple[int, str, Stored]] = []  # the newest one first
    total = 0
    for one in files:
        heapq.heappush(held, (-one.at_ns, one.name, one))
        total += one.nbytes
        while total - held[0][2].nbytes >= nbytes:
            total -= heapq.heappop(held)[2].nbytes
    return [one for _, _, one in sorted(held, reverse=True)]
