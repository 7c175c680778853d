"""Makes the verdicts that killed runs did not publish. A part without a verdict gets the verdict `late`."""

from __future__ import annotations

from collections.abc import Sequence

from ..judges.rules import Rules
from ..memory.ledger import Ledger, Record
from .verdict import Identity, late, record_of


class Leftovers:
    """The verdicts of killed runs that subscribers may have missed: `records`, in the order of the parts."""

    def __init__(self, runs: Sequence[tuple[Ledger, Identity]], rules: Rules, now_ns: int) -> None:
        self._ledgers = [ledger for ledger, _ in runs]
        self.records = [record for run in runs for record in _records(*run, rules, now_ns)]

    def settle(self, now_ns: int) -> None:
        """Note in the runs' ledgers that subscribers have heard these verdicts, and forget the verdicts."""
        for ledger in self._ledgers:
            ledger.settled_ns = now_ns
        self._ledgers, self.records = [], []


def _records(ledger: Ledger, identity: Identity, rules: Rules, now_ns: int) -> list[Record]:
    """Return a run's verdicts that a subscriber may have missed, marked as resent if sent before."""
    found = [record.resent() for record in ledger.recorded_since(ledger.settled_ns)]
    while ledger.waiting:
        entry = ledger.published
        if (recorded := ledger.recorded(entry)) is not None:
            found.append(recorded.resent())
        else:
            finding = late(ledger.part(entry), "the line was ended before it had judged the part")
            record = record_of(finding, rules, identity, now_ns, ledger.last_number + 1)
            ledger.record(entry, record)
            found.append(record)
        ledger.set_published(entry)
    return found
