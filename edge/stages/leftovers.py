"""Makes the verdicts that killed runs did not publish. A part without a verdict gets the verdict `late`."""

from __future__ import annotations

from collections.abc import Sequence

from ..memory.ledger import Record
from .publisher import REJOIN_NS, Publisher


class Leftovers:
    """The verdicts of killed runs that subscribers may have missed, in the order of the parts.

    `runs` has a publisher of each run's ledgers, whose belt has ended.
    """

    def __init__(self, runs: Sequence[Publisher], now_ns: int) -> None:
        self._runs = runs
        self._records = [record for run in runs for record in _records(run, now_ns)]

    def __bool__(self) -> bool:
        return bool(self._records)

    def take(self) -> list[Record]:
        """Return the verdicts to send to a subscriber that came. From the second time on, all are resent."""
        taken = self._records
        self._records = [record for run in self._runs for record in run.again()]
        return taken

    def settle(self, now_ns: int) -> None:
        """Note in the runs' ledgers that subscribers have heard these verdicts, and forget the verdicts."""
        for run in self._runs:
            run.settle(now_ns + REJOIN_NS)
        self._runs, self._records = [], []


def _records(run: Publisher, now_ns: int) -> list[Record]:
    """Return a run's verdicts that a subscriber may have missed, marked as resent if sent before."""
    found = run.again()
    while (record := run.next(lambda: now_ns)) is not None:
        found.append(record)
        run.sent(record)
    return found
