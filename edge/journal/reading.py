"""Reads a journal without changing it, also while a line writes it: verifies it, and finds parts and times."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ..errors import JournalDamaged
from .chain import Gap, Row, faults
from .database import meaning, open_to_read, rows

#: Most faults that are told of one journal.
MOST_FAULTS = 10


@dataclass(kw_only=True)
class Verified:
    """What a journal holds, and where it is broken."""

    rows: int = 0
    verdicts: int = 0
    missing: int = 0  # verdicts in gaps
    gaps: list[str] = field(default_factory=list)  # one sentence for each
    faults: list[str] = field(default_factory=list)  # the first MOST_FAULTS
    last: Row | None = None


def verify(path: Path) -> Verified:
    """Check each row of a journal, its link to the row before, and the file's own structure.

    Raise JournalError if the file cannot be opened.
    """
    found = Verified()
    with closing(open_to_read(path)) as db:
        try:
            for said in faults(_counted(rows(db, path), found)):
                found.faults.append(said)
                if len(found.faults) == MOST_FAULTS:
                    return found
        except JournalDamaged as error:
            found.faults.append(f"after row {found.last.id if found.last else 0}: {error}")
            return found
        try:
            (said,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.Error as error:
            said = str(meaning(error, path))
        if said != "ok":
            found.faults.append(f"the file's structure: {said}")
    return found


def _counted(found: Iterator[Row], verified: Verified) -> Iterator[Row]:
    for row in found:
        verified.rows += 1
        verified.verdicts += row.kind == "verdict"
        verified.last = row
        if row.kind == "gap":
            try:
                gap = msgspec.json.decode(row.body, type=Gap)
            except msgspec.MsgspecError:
                pass  # the row's hash tells it, or its fault
            else:
                verified.missing += gap.last - gap.first + 1
                verified.gaps.append(
                    f"row {row.id}: verdicts {gap.first} to {gap.last} of run {row.run}: {gap.why}"
                )
        yield row


def of_part(path: Path, part_id: str) -> list[Row]:
    """Return the rows about a part: its verdict, and events that name it. Raise JournalError if unreadable."""
    with closing(open_to_read(path)) as db:
        return list(rows(db, path, "WHERE part_id = ? ORDER BY id", part_id))


def between(path: Path, begin: str, end: str) -> Iterator[Row]:
    """Yield the rows from the time `begin` on and before `end`, in their order. An empty text is no limit.

    The times are compared as text, so they have the form of `Entry.at`. Raise JournalError if unreadable.
    """
    with closing(open_to_read(path)) as db:
        yield from rows(db, path, "WHERE at >= ? AND (?2 = '' OR at < ?2) ORDER BY id", begin, end)
