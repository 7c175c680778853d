"""Finds in a journal the verdicts that a line published before, for subscribers that missed them.

Each call opens the file, reads one moment of it by its indexes, and closes it. So a reader never keeps the
writer from emptying its log or from putting the file aside.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..errors import WireError
from ..wire import verdict_from
from .chain import NO_RUN, Row, hash_of
from .database import meaning, open_to_read, rows

#: Longest time for one call. It is also how long to wait for a file that another program has locked.
MOST_S = 0.1
#: SQLite looks at the clock once in this number of steps of its virtual machine; a row takes about 30.
STEPS = 100

_RANGE = "WHERE kind = 'verdict' AND run = ? AND number BETWEEN ? AND ? ORDER BY number"
# Literal kinds let SQLite use the partial indexes.
_LAST_VERDICT = "SELECT number, id FROM journal WHERE kind = 'verdict' AND run = ? ORDER BY number DESC LIMIT 1"
_LAST_EVENT = (
    "SELECT number, id FROM journal WHERE kind = ?2 AND kind <> 'verdict' AND run = ?1"
    " ORDER BY number DESC, id DESC LIMIT 1"
)
# Without INDEXED BY, SQLite may read all rows from a place on. There are far fewer starts than rows.
_NEXT_START = (
    "SELECT run FROM journal INDEXED BY events WHERE kind = 'start' AND kind <> 'verdict' AND id > ?"
    " ORDER BY id LIMIT 1"
)
_NEXT_ROW = f"SELECT run FROM journal WHERE id > ? AND run NOT IN (?, '{NO_RUN}') ORDER BY id LIMIT 1"


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a journal has of a range of a run's verdicts: all that is left of it up to `upto`."""

    upto: int  # below the first number of the range if nothing is known from there on
    verdicts: tuple[tuple[bytes, bytes], ...]  # topic and body as they were published, in order
    newest: int  # number of the last verdict that is accounted for
    closed: bool  # it was the last one of the run
    then: str  # the run that followed; empty: none is known
    altered: int = 0  # rows that are left out because they are not as they were written, or not of this version


def past(path: Path, run: str, first: int, last: int | None, most_bytes: int) -> Past | None:
    """Return the verdicts `first` to `last` of a run, or the first of them that have up to `most_bytes`.

    One verdict may be larger. If `last` is None, the range has no end. Return None if the journal has nothing
    of the run. Raise JournalError if it cannot be read within MOST_S.
    """
    end_s = time.monotonic() + MOST_S
    with closing(open_to_read(path, MOST_S)) as db:
        db.set_progress_handler(lambda: time.monotonic() > end_s, STEPS)
        try:
            db.execute("BEGIN")
            return _past(db, path, run, max(first, 1), last, most_bytes)
        except sqlite3.Error as error:
            raise meaning(error, path) from error


def _past(
    db: sqlite3.Connection, path: Path, run: str, first: int, last: int | None, most_bytes: int
) -> Past | None:
    # A gap is never the last: the verdict after it is written with it.
    found = {"verdict": db.execute(_LAST_VERDICT, (run,)).fetchone()}
    for kind in ("close", "start", "resume"):
        found[kind] = db.execute(_LAST_EVENT, (run, kind)).fetchone()
    places = {kind: (int(row[0]), int(row[1])) for kind, row in found.items() if row}
    if not places:
        return None
    newest = max(number for number, _ in places.values())
    upto = newest if last is None else min(last, newest)
    verdicts, size, altered = list[tuple[bytes, bytes]](), 0, 0
    for row in rows(db, path, _RANGE, run, first, upto) if first <= upto else ():
        if not _is_whole(row):
            altered += 1
            continue
        verdict = row.topic.encode(), row.body
        size += sum(map(len, verdict))
        if verdicts and size > most_bytes:
            upto = row.number - 1
            break
        verdicts.append(verdict)
    return Past(
        upto=upto,
        verdicts=tuple(verdicts),
        newest=newest,
        closed="close" in places and places["close"][0] == newest,
        then=_next(db, run, places) if upto == newest else "",
        altered=altered,
    )


def _is_whole(row: Row) -> bool:
    """Return whether a row is as it was written, and a subscriber of this version can read its verdict."""
    try:
        verdict_from(row.body)
    except WireError:
        return False
    return row.hash == hash_of(row)


def _next(db: sqlite3.Connection, run: str, places: dict[str, tuple[int, int]]) -> str:
    """Return the run that was started after a run. `places` are the number and id of the run's last rows."""
    if "start" in places:
        found = db.execute(_NEXT_START, (places["start"][1],)).fetchone()
    else:
        # Its start was deleted, so that of the next run may be deleted, too.
        _, last = places.get("verdict", (0, 0))
        found = db.execute(_NEXT_ROW, (last, run)).fetchone()
    return str(found[0]) if found else ""
