"""Copies the frames of a camera's parts out of shared memory, before their slots are leased again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import SlotOverwritten
from ..memory.ledger import ROWS, Ledger
from ..memory.ring import Ring, as_image
from ..messages import Part
from .kept import Look


class Frames:
    """The copied frames of one camera, by the parts' numbers in its ledger, until they are asked for.

    A frame is copied when the slot shows it as whole, and counts only if the slot still belongs to the part
    afterwards. It only reads, so that nobody waits for it. `lost` counts whole frames that were overwritten
    before they were copied.
    """

    def __init__(self, ledger: Ledger, ring: Ring, shape: tuple[int, ...]) -> None:
        """`shape` is that of a frame. Parts that have a verdict by now are left out."""
        self._ledger, self._ring, self._shape = ledger, ring, shape
        self._next = ledger.published
        self._awaited: dict[int, Part] = {}
        self._copied: dict[int, Look] = {}
        self.lost = 0

    def copy(self) -> None:
        """Copy the frames that are whole now. Call this several times while a part is on the line."""
        captured = self._ledger.captured
        for entry in range(max(self._next, captured - ROWS), captured):
            try:
                part = self._ledger.part(entry)
            except ValueError:
                continue  # its row was reused meanwhile
            if part.slot >= 0:
                self._awaited[entry] = part
        self._next = captured
        for entry, part in list(self._awaited.items()):
            self._copy(entry, part)
        # A frame that no verdict asks for must not stay for ever.
        for entry in list(self._copied)[: max(0, len(self._copied) - 2 * self._ring.slots)]:
            del self._copied[entry]
            self.lost += 1

    def _copy(self, entry: int, part: Part) -> None:
        try:
            with self._ring.area(part, "frame") as area:
                if not self._ring.is_filled(part):
                    return
                frame: NDArray[np.uint8] = as_image(area, self._shape).copy()
        except SlotOverwritten:
            self.lost += 1
        else:
            self._copied[entry] = Look(part=part, frame=frame)
        del self._awaited[entry]

    def take(self, entry: int) -> Look | None:
        """Return what was seen of a part, by its number in the ledger, once it has its verdict.

        The frame is None if there was none in time. Returns None if the ledger has no row of the part any more.
        """
        part = self._awaited.pop(entry, None)
        if (look := self._copied.pop(entry, None)) is not None:
            return look
        try:
            return Look(part=part or self._ledger.part(entry), frame=None)
        except ValueError:
            return None
