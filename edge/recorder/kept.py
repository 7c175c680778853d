"""Holds the last parts in memory: their verdicts, the ledgers' rows, and the frames."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..messages import Part, Verdict


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one camera saw of a part: the row in its ledger, and a copy of the frame.

    `frame` is `(H, W)` grey or raw, or `(H, W, 3)` BGR, uint8. It is None if there is no whole frame.
    """

    part: Part
    frame: NDArray[np.uint8] | None


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A part whose verdict was published, and all that was seen of it."""

    number: int
    topic: str
    body: bytes  # the verdict's JSON, as it was published
    verdict: Verdict
    looks: tuple[Look, ...]

    @property
    def nbytes(self) -> int:
        """The number of bytes in its frames."""
        return sum(look.frame.nbytes for look in self.looks if look.frame is not None)


class LastParts:
    """The last parts of a line: so many that neither their number nor their bytes exceed a limit."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: deque[Kept] = deque()
        self._nbytes = 0

    def add(self, kept: Kept) -> None:
        """Add a part. The oldest parts are forgotten, but never the part itself."""
        self._kept.append(kept)
        self._nbytes += kept.nbytes
        while len(self._kept) > 1 and (len(self._kept) > self._most or self._nbytes > self._most_bytes):
            self._nbytes -= self._kept.popleft().nbytes

    def take(self) -> tuple[Kept, ...]:
        """Return the parts, oldest first, and forget them, so that no part is in two files."""
        taken = tuple(self._kept)
        self._kept.clear()
        self._nbytes = 0
        return taken
