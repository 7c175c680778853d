"""Opens the SQLite file of a journal, for its one writer or for readers, and tells what its errors mean.

The file is in WAL mode with `synchronous = FULL`, so a commit is on the disk when it returns. With NORMAL, a
power cut may take back the commits since the last checkpoint (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from ..errors import JournalDamaged, JournalError, JournalFull
from .chain import Row

VERSION = 1
#: How long to wait for the process that wrote the journal before and may still be ending.
LOCK_S = 5.0
#: If the disk has less free space than this, a failure to write means that the disk is full.
FULL_BYTES = 1_000_000

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE journal (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, run TEXT NOT NULL, number INTEGER NOT NULL, topic TEXT NOT NULL,
    at TEXT NOT NULL, body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL,
    line TEXT AS (json_extract(body, '$.line')), part_id TEXT AS (json_extract(body, '$.part_id')),
    camera TEXT AS (json_extract(body, '$.camera')), verdict TEXT AS (json_extract(body, '$.verdict')),
    reason TEXT AS (json_extract(body, '$.reason')), captured_at TEXT AS (json_extract(body, '$.captured_at'))
);
CREATE UNIQUE INDEX verdicts ON journal (run, number) WHERE kind = 'verdict';
CREATE INDEX events ON journal (kind, run, number) WHERE kind <> 'verdict';
CREATE INDEX parts ON journal (part_id) WHERE part_id IS NOT NULL;
CREATE INDEX times ON journal (at);
PRAGMA user_version = {VERSION};
COMMIT;
"""
_ROWS = "SELECT id, kind, run, number, topic, at, CAST(body AS BLOB), previous, hash FROM journal"


def not_writable(folder: Path, error: OSError) -> JournalError:
    """Return the error that a journal cannot be written in a folder."""
    return JournalError(
        f"{folder}: cannot write the journal there: {error.strerror}: write another folder under "
        "[journal] folder"
    )


def lock(path: Path) -> int:
    """Lock a file, which is made if it is not there, until the returned descriptor is closed.

    Raise JournalError if the file cannot be made, or if another process keeps the lock for LOCK_S.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise not_writable(path.parent, error) from error
    end = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return opened
        except BlockingIOError as error:
            if time.monotonic() > end:
                os.close(opened)
                raise JournalError(f"{path}: another process writes this journal: stop it") from error
            time.sleep(0.02)


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open a journal for its one writer, and make it if there is none. Raise as `meaning` says."""
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        db.text_factory = _decoded
        try:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA journal_mode = WAL")
            if _version(db, path) == 0:
                db.executescript(_SCHEMA)
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as error:
        raise meaning(error, path) from error
    return db


def open_to_read(path: Path, wait_s: float = LOCK_S) -> sqlite3.Connection:
    """Open a journal that another process may be writing. Raise JournalError if there is no journal.

    If another program has locked the file, wait for up to `wait_s`, here and in each later statement.
    """
    if not path.is_file():
        raise JournalError(f"{path}: there is no such journal")
    uri = f"file:{quote(str(path))}?mode=ro"
    # SQLite cannot make the files that it needs beside this one, so it must know that the file never changes.
    if not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists():
        uri += "&immutable=1"
    try:
        db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=wait_s)
        db.text_factory = _decoded
        version = _version(db, path)
    except sqlite3.Error as error:
        raise meaning(error, path) from error
    if version == 0:
        db.close()
        raise JournalError(f"{path}: is no journal")
    return db


def _decoded(data: bytes) -> str:
    """Return a text of a file that may be damaged."""
    return data.decode(errors="replace")


def _version(db: sqlite3.Connection, path: Path) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version not in (0, VERSION):
        raise JournalError(
            f"{path}: a journal of version {version}, expected {VERSION}: use the Linejudge that wrote it"
        )
    return version


def rows(db: sqlite3.Connection, path: Path, more: str = "ORDER BY id", *values: object) -> Iterator[Row]:
    """Yield rows of a journal as they are, even if they were altered. `more` selects and orders them.

    Raise JournalDamaged or another JournalError if the file cannot be read.
    """
    try:
        for id_, kind, run, number, topic, at, body, previous, hash_ in db.execute(f"{_ROWS} {more}", values):
            yield Row(
                id=id_,
                kind=str(kind),
                run=str(run),
                # A damaged file may hold anything in any column.
                number=number if isinstance(number, int) else -1,
                topic=str(topic),
                at=str(at),
                body=bytes(body or b""),
                previous=str(previous),
                hash=str(hash_),
            )
    except sqlite3.Error as error:
        raise meaning(error, path) from error


def meaning(error: sqlite3.Error, path: Path) -> JournalError:
    """Return what an error of SQLite means: JournalFull, JournalDamaged, or another JournalError."""
    # sqlite3 raises DatabaseError itself for SQLITE_CORRUPT and SQLITE_NOTADB, and subclasses for the rest.
    if type(error) is sqlite3.DatabaseError:
        return JournalDamaged(f"{path}: {error}")
    if "interrupted" in str(error):
        return JournalError(f"{path}: not read in the time that there is for it: is the disk too busy?")
    if "full" in str(error) or shutil.disk_usage(path.parent).free < FULL_BYTES:
        return JournalFull(f"{path}: the disk is full: free space on it")
    return JournalError(f"{path}: {error}: does this user have the right to write the file and its folder?")
