"""What a journal gives back of the verdicts of earlier runs, and of the run that goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from journals import alter, entries, entry

import edge.journal.past
from edge.errors import JournalError
from edge.journal.past import Past, past
from edge.journal.store import Journal, journal_path

A, B, C = "a" * 16, "b" * 16, "c" * 16
LARGE = 10**9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Run A with verdicts 1 to 9, of which 4 to 6 could not be written, run B with one, run C without any."""
    with Journal(tmp_path, "caps") as journal:
        journal.event("start", A, b"{}")
        journal.write(entries([1, 2, 3], A))
        journal.write(entries([7, 8, 9], A), "the disk was full")
        journal.event("close", A, b"{}")
        journal.event("start", B, b"{}")
        journal.write([entry(1, B, "reject")])
        journal.event("alarm", B, b"{}")
        journal.event("start", C, b"{}")
    return journal_path(tmp_path, "caps")


def numbers(found: Past | None) -> list[int]:
    assert found is not None
    return [msgspec.json.decode(body)["sequence"] for _, body in found.verdicts]


def test_a_range_of_a_run_comes_as_it_was_published(path: Path) -> None:
    """Topic and body, byte for byte and in order."""
    found = past(path, A, 2, 3, LARGE)
    written = entries([2, 3], A)
    assert found == Past(
        upto=3,
        verdicts=tuple((each.topic.encode(), each.body) for each in written),
        newest=9,
        closed=True,
        then="",
    )
    found = past(path, B, 1, None, LARGE)
    assert found is not None
    assert found.verdicts == ((b"reject.caps", entry(1, B, "reject").body),)


def test_what_could_not_be_written_is_lost_and_no_end(path: Path) -> None:
    """The verdicts after a gap come, and `upto` says that nothing else is to come."""
    found = past(path, A, 2, 8, LARGE)
    assert found is not None
    assert (numbers(found), found.upto) == ([2, 3, 7, 8], 8)
    found = past(path, A, 4, 6, LARGE)
    assert found is not None
    assert (numbers(found), found.upto, found.newest) == ([], 6, 9)


@pytest.mark.parametrize(
    ("run", "newest", "closed", "then"), [(A, 9, True, B), (B, 1, False, C), (C, 0, False, "")]
)
def test_the_end_of_a_run_names_the_run_that_followed(
    path: Path, run: str, newest: int, closed: bool, then: str
) -> None:
    """A run without a `close` may have had further verdicts."""
    found = past(path, run, 1, None, LARGE)
    assert found is not None
    assert (found.upto, found.newest, found.closed, found.then) == (newest, newest, closed, then)


def test_what_a_killed_run_left_is_its_own(tmp_path: Path) -> None:
    """It is written after the start of the next run, which is still the one that followed."""
    with Journal(tmp_path, "caps") as journal:
        journal.event("start", A, b"{}")
        journal.write(entries([1], A))
        journal.event("start", B, b"{}")
        journal.write([*entries([2], A), *entries([1], B)])
        journal.event("close", A, b"{}")
        journal.event("close", B, b"{}")
        journal.event("start", C, b"{}")
    path = journal_path(tmp_path, "caps")
    for run, all_, then in ((A, [1, 2], B), (B, [1], C)):
        found = past(path, run, 1, None, LARGE)
        assert found is not None
        assert (numbers(found), found.closed, found.then) == (all_, True, then)


@pytest.mark.parametrize(("deleted", "left"), [(2, [2, 3, 7, 8, 9]), (7, [9])])
def test_what_was_deleted_for_its_age_is_lost(path: Path, deleted: int, left: list[int]) -> None:
    """Of a run whose start is deleted, the run that followed is still known."""
    alter(path, "DELETE FROM journal WHERE id <= ?", deleted)
    found = past(path, A, 1, None, LARGE)
    assert found is not None
    assert (numbers(found), found.upto, found.closed, found.then) == (left, 9, True, B)


def test_the_run_that_followed_is_known_although_both_starts_are_deleted(tmp_path: Path) -> None:
    """As of a killed run whose last verdicts were written after the start of the next."""
    with Journal(tmp_path, "caps") as journal:
        for run in (A, B):
            journal.event("start", run, b"{}")
        journal.write([*entries([1], A), *entries([1], B)])
        journal.event("start", C, b"{}")
    alter(journal_path(tmp_path, "caps"), "DELETE FROM journal WHERE kind = 'start' AND run IN (?, ?)", A, B)
    found = past(journal_path(tmp_path, "caps"), A, 1, None, LARGE)
    assert found is not None
    assert found.then == B


def test_an_answer_is_bounded(path: Path) -> None:
    """By bytes, but it has one verdict at least. The next one begins after `upto`, over a gap as well."""
    got, first = list[int](), 1
    while first <= 9:
        found = past(path, A, first, None, 1)
        assert found is not None
        assert len(found.verdicts) == 1
        assert found.then == (B if found.upto == 9 else "")
        got, first = got + numbers(found), found.upto + 1
    assert got == [1, 2, 3, 7, 8, 9]


@pytest.mark.parametrize(("first", "last"), [(10**30, None), (-(10**30), 0), (5, 3), (10, 10**30)])
def test_absurd_ranges_are_empty(path: Path, first: int, last: int | None) -> None:
    """What a hostile peer may ask for. Its numbers need not fit into the file's."""
    assert numbers(past(path, A, first, last, LARGE)) == []


def test_an_unknown_run_is_none(path: Path) -> None:
    """The caller says so to the subscriber."""
    assert past(path, "d" * 16, 1, None, LARGE) is None


def test_a_row_that_is_not_as_it_was_written_is_left_out(path: Path) -> None:
    """No altered verdict is sent to a subscriber as one of the line."""
    alter(path, "UPDATE journal SET topic = 'accept.other' WHERE run = ? AND number = 8", A)
    found = past(path, A, 7, 9, LARGE)
    assert found is not None
    assert (numbers(found), found.upto, found.altered) == ([7, 9], 9, 1)


def test_a_verdict_of_another_version_is_left_out(tmp_path: Path) -> None:
    """Else each subscriber of this version would end at it."""
    other = msgspec.structs.replace(entry(2, A), body=msgspec.json.encode({"v": 99, "line": "caps"}))
    with Journal(tmp_path, "caps") as journal:
        journal.write([entry(1, A), other, entry(3, A)])
    found = past(journal_path(tmp_path, "caps"), A, 1, 3, LARGE)
    assert found is not None
    assert (numbers(found), found.upto, found.altered) == ([1, 3], 3, 1)


def test_a_journal_that_is_written_meanwhile_is_read_up_to_its_last_commit(tmp_path: Path) -> None:
    """A reader neither waits for the writer nor keeps it from emptying its log."""
    with Journal(tmp_path, "caps") as journal:
        journal.write(entries([1], A))
        db = journal._db
        assert db is not None
        db.execute("BEGIN IMMEDIATE")
        assert numbers(past(journal.path, A, 1, None, LARGE)) == [1]
        db.execute("ROLLBACK")
        journal.write(entries([2], A))
        assert numbers(past(journal.path, A, 1, None, LARGE)) == [1, 2]
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


def missing(path: Path) -> None:
    path.unlink()


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def no_database(path: Path) -> None:
    path.write_bytes(b"hello" * 1000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another_version(path: Path) -> None:
    alter(path, "PRAGMA user_version = 99")


@pytest.mark.parametrize("broken", [missing, damaged, no_database, empty, of_another_version])
def test_a_journal_that_cannot_be_read_is_an_error(path: Path, broken: Callable[[Path], None]) -> None:
    """One that the caller expects."""
    broken(path)
    with pytest.raises(JournalError):
        past(path, A, 1, None, LARGE)


def test_a_locked_journal_is_an_error(path: Path) -> None:
    """As while another program compresses the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError):
            past(path, A, 1, None, LARGE)


def test_a_journal_that_takes_too_long_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller has other work."""
    monkeypatch.setattr(edge.journal.past, "MOST_S", 0.0)
    with Journal(path.parent, "caps") as journal:
        journal.write([entry(number, C) for number in range(1, 200)])
    with pytest.raises(JournalError, match="not read in the time"):
        past(path, C, 1, None, LARGE)


def test_each_question_uses_an_index(path: Path) -> None:
    """So its cost does not grow with the journal."""
    questions = [
        ("SELECT * FROM journal " + edge.journal.past._RANGE, (A, 1, 9), "verdicts"),
        (edge.journal.past._LAST_VERDICT, (A,), "verdicts"),
        (edge.journal.past._LAST_EVENT, (A, "close"), "events"),
        (edge.journal.past._NEXT_START, (1,), "events"),
        (edge.journal.past._NEXT_ROW, (1, A), "INTEGER PRIMARY KEY"),
    ]
    with closing(sqlite3.connect(path)) as db:
        for question, values, index in questions:
            steps = [row[3] for row in db.execute("EXPLAIN QUERY PLAN " + question, values)]
            assert [step for step in steps if step.startswith("SCAN")] == [], question
            assert any(step.startswith("SEARCH") and index in step for step in steps), steps
