"""Decides which look of a later station belongs to which part of the first station, or to none.

A look and a part belong together if each is the nearest of the other, counted from the place where the part has
to come by, and within the window. Looks are never counted. So a lost, doubled or spurious trigger concerns the
parts within the window around it and no others, and two pairs never cross each other. The functions know no
clock: whoever calls them passes the position up to which all triggers have been entered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .places import NOWHERE, Places

#: stray: a look without a part. open: its part, or whether it has one, is not known yet.
Fate = Literal["taken", "stray", "open"]


@dataclass(frozen=True, kw_only=True)
class Station:
    """A camera's place on the belt behind the first camera, and how far a look may lie from it.

    Both are in the unit of positions: nanoseconds or ticks.
    """

    name: str
    at: int
    window: int

    def settled_at(self, part: int) -> int:
        """Return the position from which on no trigger can change which look the part at `part` has.

        From there on, all looks in the part's window are known, and all parts that could take one of them.
        """
        return part + max(self.at + self.window, 2 * self.window)


def look_of(part: int, parts: Places, looks: Places, station: Station) -> int | None:
    """Return the entry of the look that belongs to the part with the entry `part`; None if there is none."""
    if (position := parts.position(part)) == NOWHERE:
        return None
    look = looks.nearest(position + station.at, station.window)
    return look if look is not None and part_of(look, parts, looks, station) == part else None


def part_of(look: int, parts: Places, looks: Places, station: Station) -> int | None:
    """Return the entry of the part that the look is nearest to; None if no part is within the window."""
    position = looks.position(look)
    return None if position == NOWHERE else parts.nearest(position - station.at, station.window)


def fate_of(look: int, parts: Places, looks: Places, station: Station, *, decided: int, passed: int) -> Fate:
    """Return whether a look that no decided part took belongs to a part that is still to be decided.

    Parts with entries below `decided` have their verdict. All triggers up to the position `passed` have been
    entered. A look without a position is a stray.
    """
    if (position := looks.position(look)) == NOWHERE:
        return "stray"
    part = part_of(look, parts, looks, station)
    if part is None:
        return "stray" if passed >= position - station.at + station.window else "open"
    if part < decided:
        return "stray"
    if passed < station.settled_at(parts.position(part)):
        return "open"
    return "taken" if look_of(part, parts, looks, station) == look else "stray"
