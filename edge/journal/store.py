"""Appends verdicts and events to the journal of a line, accounts for gaps, and deletes what is too old."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ..errors import JournalDamaged, JournalError
from ..messages import utc
from ..recipe import JournalChoice
from .account import accounted
from .chain import FIRST, NO_RUN, Deleted, Entry, Row, faults, linked
from .database import lock, meaning, not_writable, open_to_read, open_to_write, rows
from .retention import CHUNK, surplus

#: Rows whose chain is checked when the journal is opened to be written.
CHECKED = 1000


def journal_path(folder: Path, line: str) -> Path:
    """Return the file of a line's journal in a folder of journals."""
    return folder / f"{line}.sqlite"


def journal_folder(choice: JournalChoice, state: Path) -> Path:
    """Return the folder of a line's journal. `state` is the folder for what outlasts the line."""
    return Path(choice.folder) if choice.folder else state / "journal"


def check_journal(folder: Path, line: str) -> None:
    """Raise JournalError if a line's journal cannot be written in a folder, or is not of this version.

    Change nothing.
    """
    there = next(found for found in (folder, *folder.parents) if found.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise not_writable(folder, error) from error
    if (path := journal_path(folder, line)).exists():
        open_to_read(path).close()


class Journal:
    """The journal of a line, open for its one writer. `with` closes it.

    Opening makes folder and file if they are not there. A damaged file is put aside, where `aside` says, and a
    new one is begun. Raise JournalFull if the disk is full. Raise JournalError if the file cannot be written,
    or if another process writes it.
    """

    def __init__(self, folder: Path, line: str) -> None:
        self.path, self.line = journal_path(folder, line), line
        self.aside: Path | None = None
        self._db: sqlite3.Connection | None = None
        self._lock = lock(self.path.with_suffix(".lock"))
        try:
            try:
                self._open()
            except JournalDamaged:
                self.put_aside()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and let another process write it."""
        self._close()
        os.close(self._lock)

    def last(self, run: str) -> int:
        """Return the number up to which a run's verdicts are in the journal, each or in a gap; 0: none is."""
        with self._errors() as db:
            # "kind <> 'verdict'" lets SQLite use the index of events.
            query = (
                "SELECT max(coalesce((SELECT max(number) FROM journal WHERE kind = 'verdict' AND run = ?1), 0),"
                " coalesce((SELECT max(number) FROM journal"
                " WHERE kind = 'gap' AND kind <> 'verdict' AND run = ?1), 0))"
            )
            return int(db.execute(query, (run,)).fetchone()[0])

    def knows(self, run: str) -> bool:
        """Return whether the journal has the start of a run."""
        with self._errors() as db:
            query = "SELECT 1 FROM journal WHERE kind = 'start' AND kind <> 'verdict' AND run = ? LIMIT 1"
            return db.execute(query, (run,)).fetchone() is not None

    def count(self, kind: str, run: str) -> int:
        """Return how many rows of a kind other than `verdict` the journal has of a run."""
        with self._errors() as db:
            query = "SELECT count(*) FROM journal WHERE kind = ? AND kind <> 'verdict' AND run = ?"
            return int(db.execute(query, (kind, run)).fetchone()[0])

    def write(self, entries: Sequence[Entry], why: str = "") -> int:
        """Write entries in one commit, and return how many verdicts are missing between them.

        Of each run, verdicts come in the order of their numbers. A verdict that the journal has already is
        left out. Those that are missing become a gap, with `why` as its reason. When this returns, the rows are
        on the disk. If it raises JournalFull or another JournalError, the caller may write the same entries
        again later. Raise JournalDamaged if the file is damaged: then it can only be put aside.
        """
        with self._transaction() as db:
            return self._append(db, entries, why)

    def event(self, kind: str, run: str, body: bytes) -> None:
        """Write an event of the line that happens now, such as a start. `body` is JSON in one line."""
        self.write([Entry(kind=kind, run=run, number=0, at=utc(time.time_ns()), body=body)])

    def trim(self, run: str, keep_days: int, keep_mb: int) -> bool:
        """Delete the oldest rows, at most CHUNK, if they are too old or the file is too large; 0: never.

        A row that is written with them says so, hence the rest still verifies. Return whether more may be due.
        """
        with self._errors() as db:
            newest = db.execute("SELECT max(id) FROM journal").fetchone()[0]
            oldest = list(
                db.execute("SELECT id, at, hash FROM journal WHERE id < ? ORDER BY id LIMIT ?", (newest, CHUNK))
            )
            pages, free, size = (
                int(db.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
        limit = utc(max(0, time.time_ns() - keep_days * 86_400 * 10**9)) if keep_days else ""
        too_large = bool(keep_mb) and (pages - free) * size > keep_mb * 10**6
        if not (count := surplus([at for _, at, _ in oldest], limit, too_large=too_large)):
            return False
        last, _, hash_ = oldest[count - 1]
        why = f"more than {keep_mb} MB" if too_large else f"older than {keep_days} days"
        body = msgspec.json.encode(Deleted(line=self.line, last=last, hash=hash_, why=why))
        with self._transaction() as db:
            entry = Entry(kind="deleted", run=run, number=0, at=utc(time.time_ns()), body=body)
            self._append(db, [entry], "")
            db.execute("DELETE FROM journal WHERE id <= ?", (last,))
        return count == CHUNK

    def put_aside(self) -> None:
        """Rename the damaged file to `aside`, and begin a new one whose first row names it.

        Raise JournalFull or JournalError if that cannot be done.
        """
        self._close()
        stamp = utc(time.time_ns()).replace(":", "")
        self.aside = self.path.with_name(f"{self.line}.damaged-{stamp}.sqlite")
        try:
            # SQLite finds the log of a file by its name.
            for end in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    os.rename(f"{self.path}{end}", f"{self.aside}{end}")
        except OSError as error:
            raise JournalError(f"{self.path}: damaged, and cannot be renamed: {error.strerror}") from error
        self._open()

    def _open(self) -> None:
        self._db = open_to_write(self.path)
        recent = list(rows(self._db, self.path, "ORDER BY id DESC LIMIT ?", CHECKED))[::-1]
        # Whether the rows before were deleted is written further on, and is no question here.
        if said := next(faults(recent, whole=False), None):
            raise JournalDamaged(f"{self.path}: {said}")
        # The names sort by their times.
        damaged = sorted(self.path.parent.glob(f"{self.line}.damaged-*.sqlite"))
        if damaged and not recent:
            self.event("begun", NO_RUN, msgspec.json.encode({"line": self.line, "after": damaged[-1].name}))

    def _close(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
        self._db = None

    def _append(self, db: sqlite3.Connection, entries: Sequence[Entry], why: str) -> int:
        """Insert the rows of the entries, and return how many verdicts are missing between them."""
        added: list[Row] = []
        last: dict[str, int] = {}
        missing = 0
        # Asked each time: after an error, only the file says what was committed.
        found = db.execute("SELECT id, hash FROM journal ORDER BY id DESC LIMIT 1").fetchone()
        at, previous = (int(found[0]), str(found[1])) if found else (0, FIRST)
        for entry in entries:
            if entry.run not in last:
                last[entry.run] = self.last(entry.run)
            for each in accounted(entry, self.line, last[entry.run], why):
                added.append(row := linked(each, at + 1, previous))
                at, previous = row.id, row.hash
                missing += each.number - last[entry.run] if each.kind == "gap" else 0
                last[entry.run] = each.number
        db.executemany(
            "INSERT INTO journal (id, kind, run, number, topic, at, body, previous, hash)"
            " VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?)",
            ((r.id, r.kind, r.run, r.number, r.topic, r.at, r.body, r.previous, r.hash) for r in added),
        )
        return missing

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done inside `with`, or nothing of it. Raise as `meaning` says."""
        with self._errors() as db:
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")

    @contextmanager
    def _errors(self) -> Iterator[sqlite3.Connection]:
        assert self._db is not None
        try:
            yield self._db
        except sqlite3.Error as error:
            raise meaning(error, self.path) from error
