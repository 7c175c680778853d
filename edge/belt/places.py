"""Finds the part or look that is nearest to a place on the belt."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

#: The position of a part whose place on the belt is not known.
NOWHERE = -(2**63)


class Places:
    """The positions of one camera's looks, by their entries in its ledger.

    Positions are integers: nanoseconds or ticks. They need not rise with the entries, since a belt may reverse.
    A look without a position is found nowhere.
    """

    def __init__(self) -> None:
        self._sorted: list[tuple[int, int]] = []  # position, entry
        self._by_entry: dict[int, int] = {}

    def add(self, entry: int, position: int) -> None:
        """Add a look. Its entry must be new."""
        self._by_entry[entry] = position
        if position != NOWHERE:
            insort(self._sorted, (position, entry))

    def position(self, entry: int) -> int:
        """Return the position of a look; NOWHERE if the look has none or is not here."""
        return self._by_entry.get(entry, NOWHERE)

    def forget(self, before: int) -> None:
        """Remove all looks with entries below `before`."""
        if any(entry < before for entry in self._by_entry):
            self._by_entry = {e: position for e, position in self._by_entry.items() if e >= before}
            self._sorted = [(position, e) for position, e in self._sorted if e >= before]

    def nearest(self, position: int, window: int) -> int | None:
        """Return the entry of the look nearest to `position`; None if none is within `window`.

        Of two that are equally near, the one with the lower position is taken; of two at one position, the
        one that was entered first.
        """
        return min(
            self._near(position, window), key=lambda at: (abs(at[0] - position), *at), default=(0, None)
        )[1]

    def within(self, position: int, window: int) -> list[int]:
        """Return the entries of all looks at most `window` away from `position`, by their positions."""
        return [entry for _, entry in self._near(position, window)]

    def _near(self, position: int, window: int) -> Iterator[tuple[int, int]]:
        for at in range(bisect_left(self._sorted, (position - window, -1)), len(self._sorted)):
            if self._sorted[at][0] > position + window:
                return
            yield self._sorted[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield position and entry of each look that has a position, by position."""
        return iter(self._sorted)

    def __len__(self) -> int:
        return len(self._by_entry)


def places_of(looks: Iterable[tuple[int, int]]) -> Places:
    """Return the places of looks that are given as pairs of entry and position."""
    places = Places()
    for entry, position in looks:
        places.add(entry, position)
    return places
