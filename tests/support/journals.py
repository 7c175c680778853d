"""Journals as tests write them: entries of made-up verdicts, and the rows that a file has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from edge.journal.chain import Entry, Row
from edge.journal.database import open_to_read, rows
from edge.messages import Verdict, utc

RUN = "00ff00ff00ff00ff"
#: 2026-11-30, noon.
NOON_NS = 1_796_040_000_000_000_000


def verdict(number: int, kind: str = "pass", reason: str = "clean") -> Verdict:
    """A verdict of a part that was captured `number` seconds after noon and published 12 ms later."""
    captured_ns = number * 10**9
    return Verdict(
        line="caps",
        part_id=f"7-{number}",
        epoch=7,
        sequence=number,
        camera="top",
        view="über",
        source_ref="",
        skipped=0,
        verdict=kind,  # type: ignore[arg-type]
        reason=reason,  # type: ignore[arg-type]
        detail="",
        score=0.25,
        threshold=0.5,
        p_value=None,
        judges=[],
        regions=[],
        captured_at=utc(NOON_NS + captured_ns),
        captured_ns=captured_ns,
        published_ns=captured_ns + 12_000_000,
        deadline_ns=captured_ns + 200_000_000,
        latency_us={"total": 12_000},
        registration_px=None,
        recipe="a" * 64,
        bundle="b" * 64,
    )


def entry(number: int, run: str = RUN, kind: str = "pass") -> Entry:
    """What the journal is given of such a verdict."""
    said = verdict(number, kind, "clean" if kind == "pass" else "defect")
    return Entry(
        kind="verdict",
        run=run,
        number=number,
        topic="accept.caps" if kind == "pass" else "reject.caps",
        at=utc(NOON_NS + said.published_ns),
        body=msgspec.json.encode(said),
    )


def entries(numbers: Iterable[int], run: str = RUN) -> list[Entry]:
    return [entry(number, run) for number in numbers]


def rows_in(path: Path) -> list[Row]:
    with closing(open_to_read(path)) as db:
        return list(rows(db, path))


def alter(path: Path, statement: str, *values: object) -> None:
    """Change a journal as somebody would who wants it to say something else."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)
