"""Writes rows of a journal as CSV or Parquet, a column for each field and for what a verdict says most."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import msgspec

from ..errors import JournalError
from .chain import Row

#: Fields of a row, then of its body.
OF_ROW = ("id", "kind", "run", "number", "topic", "at", "previous", "hash")
OF_BODY = ("line", "part_id", "camera", "view", "verdict", "reason", "score", "captured_at")
#: Rows that are in memory at a time while Parquet is written.
GROUP = 10_000


class _Body(msgspec.Struct, kw_only=True):
    """What a table has of a body. Events have only some of it."""

    line: str | None = None
    part_id: str | None = None
    camera: str | None = None
    view: str | None = None
    verdict: str | None = None
    reason: str | None = None
    score: float | None = None
    captured_at: str | None = None


def record_of(row: Row) -> dict[str, Any]:
    """Return a row as a table shows it, `body` last. Raise JournalError if its body is not JSON."""
    try:
        body = msgspec.json.decode(row.body, type=_Body)
    except msgspec.MsgspecError as error:
        raise JournalError(f"row {row.id}: its body cannot be read: {error}: verify the journal") from error
    return {
        **{name: getattr(row, name) for name in OF_ROW},
        **{name: getattr(body, name) for name in OF_BODY},
        "body": row.body.decode(errors="replace"),
    }


def write_csv(rows: Iterable[Row], to: TextIO) -> int:
    """Write rows as CSV (RFC 4180) under a line of headings, and return how many there are."""
    writer = csv.DictWriter(to, [*OF_ROW, *OF_BODY, "body"])
    writer.writeheader()
    count = 0
    for row in rows:
        writer.writerow(record_of(row))
        count += 1
    return count


def write_parquet(rows: Iterable[Row], to: Path) -> int:
    """Write rows as a Parquet file with UTC timestamps, and return how many there are.

    Raise JournalError if pyarrow is not installed, or if the file cannot be written.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise JournalError("Parquet needs pyarrow: pip install 'linejudge[parquet]'") from error
    stamp, integer, text = pyarrow.timestamp("us", "UTC"), pyarrow.int64(), pyarrow.string()
    types = {"id": integer, "number": integer, "at": stamp, "score": pyarrow.float64(), "captured_at": stamp}
    schema = pyarrow.schema([(name, types.get(name, text)) for name in (*OF_ROW, *OF_BODY, "body")])
    count = 0
    try:
        with pyarrow.parquet.ParquetWriter(to, schema) as writer:
            for records in _groups(rows):
                for record in records:
                    record |= {name: _stamp(record[name]) for name in ("at", "captured_at")}
                writer.write_table(pyarrow.Table.from_pylist(records, schema))
                count += len(records)
    except OSError as error:
        if isinstance(error, JournalError):
            raise
        raise JournalError(f"{to}: cannot be written: {error.strerror or error}") from error
    return count


def _groups(rows: Iterable[Row]) -> Iterator[list[dict[str, Any]]]:
    found = iter(rows)
    while records := [record_of(row) for row in islice(found, GROUP)]:
        yield records


def _stamp(text: str | None) -> datetime | None:
    # Python 3.10 cannot parse the Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
