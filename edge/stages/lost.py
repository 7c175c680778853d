"""Finds the parts about which no answer can come any more, because the process that had them has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..memory.ledger import Ledger
from ..messages import Part


class LostParts:
    """The parts that were lost with a process, by camera and entry.

    All parts of a camera come to infer in the order of their capture, and infer writes into the ledger that it
    has taken them. So a part is lost if infer has answered about a later one, which the same infer process has
    taken, and has not taken this one; and if a process has ended since the part came. `failed_ns` returns when
    a process of the line was last found to have ended.
    """

    def __init__(self, ledgers: Mapping[str, Ledger], failed_ns: Callable[[], int]) -> None:
        self._ledgers, self._failed_ns = ledgers, failed_ns
        # The last part of each camera that infer answered about, and the infer process that had taken it.
        self._last: dict[str, tuple[int, int]] = {}
        self._has_news = False

    def answered(self, part: Part) -> None:
        """Note that there is an answer about a part. One that came from a stage before infer tells nothing."""
        taker = self._ledgers[part.camera].taker(part.entry)
        if taker and part.entry > self._last.get(part.camera, (-1, 0))[0]:
            self._last[part.camera] = part.entry, taker
            self._has_news = True

    def found(self) -> Iterator[Part]:
        """Yield the parts without a verdict that are lost, whether they were answered about before or not.

        Call it when all answers that have come were read.
        """
        if not self._has_news:
            return
        self._has_news = False
        failed_ns = self._failed_ns()
        for camera, (last, taker) in self._last.items():
            ledger = self._ledgers[camera]
            for entry in range(ledger.published, last):
                if ledger.taker(entry) != taker and (part := ledger.part(entry)).captured_ns < failed_ns:
                    yield part
