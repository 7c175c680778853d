"""Accounts for each verdict of a run: it is written once, and those that cannot be written become a gap."""

from __future__ import annotations

import msgspec

from .chain import Entry, Gap


def accounted(entry: Entry, line: str, last: int, why: str) -> list[Entry]:
    """Return what to write for the next entry of a run whose verdicts up to number `last` are accounted for.

    That is nothing for a verdict that is accounted for, and a gap before a verdict whose predecessors are not
    there. `why` says for people why they are not. An entry that is no verdict gets the number `last`.
    """
    if entry.kind != "verdict":
        return [msgspec.structs.replace(entry, number=last)]
    if entry.number <= last:
        return []
    if entry.number == last + 1:
        return [entry]
    gap = Gap(line=line, first=last + 1, last=entry.number - 1, why=why)
    return [
        Entry(kind="gap", run=entry.run, number=gap.last, at=entry.at, body=msgspec.json.encode(gap)),
        entry,
    ]
