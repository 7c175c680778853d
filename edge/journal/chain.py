"""Links the rows of a journal to a chain of SHA-256 hashes, and finds where a chain is broken.

A row's hash is the SHA-256 of one line of text: `previous`, `id` and its entry's fields, separated by spaces,
and a line feed at the end. So `sqlite3` and `sha256sum` can compute it without this program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

#: `previous` of a journal's first row.
FIRST = "0" * 64
#: `run` of a row that belongs to no run of the line.
NO_RUN = "-"


class Entry(Struct, frozen=True, kw_only=True):
    """What a row of the journal says, before it is linked to the row before."""

    kind: str  # "verdict", "gap", "deleted", "begun", "start", "stop", or the kind of an event of the line
    run: str  # number of the line's run, in hexadecimal
    number: int  # of the verdict in its run; of a gap its last verdict's; otherwise the verdict before, 0: none
    topic: str = ""  # under which it was published; "": it was not
    at: str  # when it was published, or else happened: UTC, ISO 8601
    body: bytes  # JSON in UTF-8, in one line


class Row(Entry, frozen=True, kw_only=True):
    """One row of the journal: its entry, its place, and its link to the row before."""

    id: int  # 1, 2, 3, ... without gaps
    previous: str  # hash of the row before
    hash: str


class Gap(Struct, frozen=True, kw_only=True):
    """The body of a `gap`: the verdicts of a run that could not be written, and why."""

    line: str
    first: int
    last: int
    why: str


class Deleted(Struct, frozen=True, kw_only=True):
    """The body of a `deleted` row: rows 1 to `last` were deleted because they were too old or too many."""

    line: str
    last: int
    hash: str  # of the row `last`, which the first row that is left holds as `previous`
    why: str


def linked(entry: Entry, number: int, previous: str) -> Row:
    """Return the entry as row `number` of a journal whose row before has the hash `previous`.

    Raise ValueError if a field would tear the line of text that is hashed.
    """
    if any(" " in word or "\n" in word for word in (entry.kind, entry.run, entry.topic, entry.at)):
        raise ValueError(f"a space or line feed in kind, run, topic or time of {entry}")
    if b"\n" in entry.body:
        raise ValueError(f"a line feed in the body of {entry.kind} {entry.number}")
    row = Row(**msgspec.structs.asdict(entry), id=number, previous=previous, hash="")
    return msgspec.structs.replace(row, hash=hash_of(row))


def hash_of(row: Row) -> str:
    """Return the hash that a row must have, in hexadecimal."""
    words = f"{row.previous} {row.id} {row.kind} {row.run} {row.number} {row.topic} {row.at} "
    return hashlib.sha256(words.encode() + row.body + b"\n").hexdigest()


def faults(rows: Iterable[Row], *, whole: bool = True) -> Iterator[str]:
    """Yield one sentence for each place where the chain of a journal's rows, in their order, is broken.

    Each sentence begins with the row. A fault is a row that was changed, added, moved or deleted, or a verdict
    that is missing without a gap that names it. Rows deleted from the end leave no trace in the rest. If the
    rows are not the `whole` journal, it is no fault that others come before them.
    """
    before: Row | None = None
    numbers = _Numbers()
    beginning: Row | None = None  # the first row, until a row says that all before it were deleted
    for row in rows:
        if before is None and row.id != 1:
            beginning, numbers.complete = row, False
        if said := _broken_link(row, before) or numbers.fault(row):
            yield f"{_name(row)}: {said}"
        elif beginning and _deletes_before(row, beginning):
            beginning = None
        numbers.take(row)
        before = row
    if beginning and whole:
        yield f"{_name(beginning)}: is the first, and no later row says that the rows before it were deleted"


def _broken_link(row: Row, before: Row | None) -> str:
    """Return what is wrong with a row's place, its link or its hash. Empty if nothing is."""
    if before is None and row.id == 1 and row.previous != FIRST:
        return "is the first, and its previous hash is not 64 zeros"
    if before and row.id != before.id + 1:
        return f"follows row {before.id}: the rows between are missing"
    if before and row.previous != before.hash:
        return f"its previous hash is not the hash of row {before.id}"
    return "" if row.hash == hash_of(row) else "its hash is not that of its content"


class _Numbers:
    """The numbers of the verdicts that a journal accounts for, run by run, as its rows are read."""

    def __init__(self) -> None:
        self.complete = True  # nothing was deleted, so each run begins with its number 1
        self._last: dict[str, int] = {}

    def fault(self, row: Row) -> str:
        """Return what is wrong with the number of the next row, whose hash is right. Empty if nothing is."""
        if row.kind not in ("verdict", "gap"):
            return ""
        first = row.number
        if row.kind == "gap":
            try:
                gap = msgspec.json.decode(row.body, type=Gap)
            except msgspec.MsgspecError as error:
                return f"its body is not that of a gap: {error}"
            first = gap.first
            if gap.last != row.number:
                return f"its number is not the last of its gap, {gap.last}"
        known = row.run in self._last or self.complete
        expected = self._last.get(row.run, 0) + 1 if known else first
        return "" if first == expected else f"verdict {expected} of run {row.run} was to follow"

    def take(self, row: Row) -> None:
        """Continue after a row."""
        if row.kind in ("verdict", "gap"):
            self._last[row.run] = row.number
        elif row.kind == "start":
            self._last.setdefault(row.run, 0)


def _deletes_before(row: Row, first: Row) -> bool:
    """Return whether a row says that the rows before `first` were deleted."""
    if row.kind != "deleted":
        return False
    try:
        deleted = msgspec.json.decode(row.body, type=Deleted)
    except msgspec.MsgspecError:
        return False
    return (deleted.last, deleted.hash) == (first.id - 1, first.previous)


def _name(row: Row) -> str:
    return f"row {row.id} ({row.kind} {row.number} of run {row.run})"
