"""Follows the verdicts that a line publishes, in their order, by reading the ledgers of its cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..messages import Part
from .ledger import ROWS, Ledger, Record


@dataclass(frozen=True, kw_only=True)
class Published:
    """A verdict that was published: its number in the run, its part, and the record as it was sent."""

    number: int
    part: Part
    record: Record


class Follower:
    """Reads each published verdict once, in the order of the numbers. It writes nothing and waits for nobody.

    It begins with the oldest verdict that the ledgers still hold and whose number is above `after`. `lost`
    counts the verdicts that were no longer there when it came to read them.
    """

    def __init__(self, ledgers: Mapping[str, Ledger], after: int = 0) -> None:
        self._ledgers = ledgers
        self._entries = {name: max(0, ledger.captured - ROWS) for name, ledger in ledgers.items()}
        self._held: dict[int, Published] = {}
        self.number = after
        self.lost = 0

    def take(self) -> list[Published]:
        """Return the verdicts that were published since the last call, oldest first."""
        self._read()
        if self._held and min(self._held) != self.number + 1:
            # The missing verdict was counted before the one that follows it. If its ledger was read first, it
            # is found now. Otherwise, its row was used again before it was read.
            self._read()
        found = []
        for number in sorted(self._held):
            self.lost += number - self.number - 1
            self.number = number
            found.append(self._held.pop(number))
        return found

    def _read(self) -> None:
        for name, ledger in self._ledgers.items():
            oldest, end = max(self._entries[name], ledger.captured - ROWS), ledger.published
            for entry in range(oldest, end):
                self._keep(ledger, entry)
            self._entries[name] = max(oldest, end)

    def _keep(self, ledger: Ledger, entry: int) -> None:
        """Keep the verdict of a row, unless the row was used again before or while it was read."""
        try:
            part, record = ledger.part(entry), ledger.recorded(entry)
        except (ValueError, UnicodeDecodeError):
            return
        is_there = entry - (ledger.captured - ROWS) >= 0
        if is_there and record is not None and record.number > self.number:
            self._held[record.number] = Published(number=record.number, part=part, record=record)
