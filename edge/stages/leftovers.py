"""What killed runs left without a verdict: each of its parts becomes `late`, given out by the next run."""

from __future__ import annotations

from collections.abc import Sequence

from ..judges.rules import Rules
from ..memory.ledger import Ledger
from ..messages import Unknown
from .verdict import Answer, Identity, record_of, resent


class Leftovers:
    """Verdicts on the parts of ended runs of which a subscriber may not have heard, in order, as `records`."""

    def __init__(self, runs: Sequence[tuple[Ledger, Identity]], rules: Rules, now_ns: int) -> None:
        self._ledgers = [ledger for ledger, _ in runs]
        self.records = [record for run in runs for record in _given_out(*run, rules, now_ns)]

    def settle(self, now_ns: int) -> None:
        """Whoever was there has heard them."""
        for ledger in self._ledgers:
            ledger.settled_ns = now_ns
        self._ledgers, self.records = [], []


def _given_out(ledger: Ledger, identity: Identity, rules: Rules, now_ns: int) -> list[bytes]:
    """What was recorded may have been sent, so it comes as it was, marked as resent."""
    found = [resent(record) for record in ledger.recorded_since(ledger.settled_ns)]
    while (entry := ledger.published) < ledger.captured:
        if (recorded := ledger.recorded(entry)) is not None:
            found.append(resent(recorded))
        else:
            detail = "the line was ended before it had judged the part"
            late = Unknown(part=ledger.part(entry), reason="late", detail=detail, done_ns={})
            record = record_of(late, Answer(late), rules, identity, now_ns)
            ledger.record(entry, record, now_ns)
            found.append(record)
        ledger.set_published(entry)
    return found
