"""Decides whether the ejector can leave a good part on the belt when it blows off a part near to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A part or a stray look on the belt, its position at the first station, and whether it is rejected."""

    name: str
    position: int
    rejected: bool | None  # None: not decided yet


def cannot_stay(position: int, others: Sequence[Neighbour], min_gap: int, passed: int) -> Neighbour | bool:
    """Return the neighbour with which the part at `position` would be blown off; False if it can stay.

    Neighbours nearer to each other than `min_gap` go together, and so do theirs in turn. Return True while it
    is not known: a neighbour is not decided, or parts may still come, since only those up to the position
    `passed` have been entered. All arguments are in the unit of positions.
    """
    if not min_gap:
        return False
    together = _together(position, others, min_gap)
    for other in sorted(together, key=lambda other: abs(other.position - position)):
        if other.rejected:
            return other
    last = max([position, *(other.position for other in together)])
    return passed < last + min_gap or any(other.rejected is None for other in together)


def undecided(position: int, others: Sequence[Neighbour], min_gap: int) -> Neighbour | None:
    """Return the nearest of the neighbours that would be blown off with a part and are not decided yet."""
    waiting = [other for other in _together(position, others, min_gap) if other.rejected is None]
    return min(waiting, key=lambda other: abs(other.position - position), default=None)


def _together(position: int, others: Sequence[Neighbour], min_gap: int) -> list[Neighbour]:
    """Return the neighbours in the row of neighbours, each nearer than `min_gap` to the next, around a part."""
    found: list[Neighbour] = []
    for ahead in (1, -1):
        edge = position
        # Those at the part's own position are found ahead.
        side = [o for o in others if ahead * (o.position - position) >= (0 if ahead > 0 else 1)]
        for other in sorted(side, key=lambda other: ahead * other.position):
            if abs(other.position - edge) >= min_gap:
                break
            found.append(other)
            edge = other.position
    return found
