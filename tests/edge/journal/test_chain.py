"""A change to any row of a journal is found, and the first changed row is named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
import pytest
from journals import RUN, entries, entry

from edge.journal.chain import FIRST, Deleted, Entry, Gap, Row, faults, linked

Change = Callable[[list[Row]], list[Row]]


def chain(written: list[Entry]) -> list[Row]:
    found: list[Row] = []
    for number, each in enumerate(written, start=1):
        found.append(linked(each, number, found[-1].hash if found else FIRST))
    return found


def own(kind: str, number: int, body: object) -> Entry:
    return Entry(
        kind=kind, run=RUN, number=number, at="2026-11-30T12:00:00.000000Z", body=msgspec.json.encode(body)
    )


def changed(row: Row, **fields: object) -> Row:
    return msgspec.structs.replace(row, **fields)


def relinked(rows: list[Row]) -> list[Row]:
    """The rows with their hashes computed anew, as by someone who knows how."""
    return linked_under(list(range(1, len(rows) + 1)), rows)


def test_a_chain_that_nobody_changed_has_no_fault() -> None:
    """From the first row on, over verdicts, a gap and events."""
    gap = own("gap", 4, Gap(line="caps", first=3, last=4, why="the disk was full"))
    rows = chain([own("start", 0, {}), *entries([1, 2]), gap, own("alarm", 4, {}), *entries([5, 6])])
    assert list(faults(rows)) == []


def test_the_hash_is_that_of_one_line_of_text() -> None:
    """Nothing but SHA-256 over the documented text, so anyone can compute it."""
    row = linked(entry(3), 1, FIRST)
    line = f"{FIRST} 1 verdict {RUN} 3 accept.caps {row.at} {row.body.decode()}\n"
    assert row.hash == hashlib.sha256(line.encode()).hexdigest()


def linked_under(ids: list[int], rows: list[Row]) -> list[Row]:
    found: list[Row] = []
    for number, row in zip(ids, rows, strict=True):
        said = Entry(**{name: getattr(row, name) for name in Entry.__struct_fields__})
        found.append(linked(said, number, found[-1].hash if found else FIRST))
    return found


CHANGES: dict[str, tuple[Change, str]] = {
    "a body": (
        lambda rows: [*rows[:2], changed(rows[2], body=rows[2].body.replace(b"pass", b"fail")), *rows[3:]],
        "row 3 (verdict 3",
    ),
    "a topic": (lambda rows: [*rows[:2], changed(rows[2], topic="reject.caps"), *rows[3:]], "row 3 (verdict 3"),
    "a time": (lambda rows: [*rows[:2], changed(rows[2], at=rows[3].at), *rows[3:]], "row 3 (verdict 3"),
    "a run": (lambda rows: [*rows[:2], changed(rows[2], run="1" * 16), *rows[3:]], "row 3 (verdict 3"),
    "a number": (lambda rows: [*rows[:2], changed(rows[2], number=9), *rows[3:]], "row 3 (verdict 9"),
    "a kind": (lambda rows: [*rows[:2], changed(rows[2], kind="alarm"), *rows[3:]], "row 3 (alarm 3"),
    "a deleted row": (lambda rows: [*rows[:2], *rows[3:]], "row 4 (verdict 4 of run"),
    "a row and its hash": (
        lambda rows: [*rows[:2], relinked([*rows[:2], changed(rows[2], body=b"{}")])[2], *rows[3:]],
        "row 4 (verdict 4 of run",
    ),
    "a deleted row, all linked anew": (
        lambda rows: relinked([*rows[:2], *rows[3:]]),
        "row 3 (verdict 4 of run",
    ),
    "a deleted event, all linked anew under the old ids": (
        lambda rows: linked_under([1, 2, 4], [rows[0], changed(rows[1], kind="alarm", number=1), *rows[1:2]]),
        "row 4 (verdict 2 of run",
    ),
    "two rows in turn": (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], "row 3 (verdict 3"),
    "a row twice": (lambda rows: [*rows[:3], *rows[2:]], "row 3 (verdict 3"),
    "the beginning": (lambda rows: rows[2:], "row 3 (verdict 3"),
    "another beginning": (
        lambda rows: [linked(entry(1), 1, "1" * 64), *rows[1:]],
        "row 1 (verdict 1",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found(what: str) -> None:
    """Whatever was changed, and the first row named is where it was."""
    change, place = CHANGES[what]
    found = list(faults(change(chain(entries(range(1, 7))))))
    assert found
    assert found[0].startswith(place)


def test_a_gap_says_exactly_which_verdicts_are_missing() -> None:
    """A gap that names fewer or other verdicts than are missing is a fault."""
    gap = own("gap", 3, Gap(line="caps", first=3, last=3, why=""))
    assert list(faults(chain([*entries([1, 2]), gap, *entries([4])]))) == []
    (found,) = faults(chain([*entries([1, 2]), gap, *entries([5])]))
    assert "verdict 4 of run" in found
    (found,) = faults(chain([*entries([1]), gap, *entries([4])]))
    assert found.startswith("row 2 (gap 3")


def test_rows_deleted_for_their_age_are_no_fault_and_others_are() -> None:
    """The row that says so names the hash of the last one deleted; without it the beginning is missing."""
    rows = chain(entries(range(1, 5)))
    said = Deleted(line="caps", last=2, hash=rows[1].hash, why="older than 30 days")
    rows.append(linked(own("deleted", 4, said), 5, rows[-1].hash))
    assert list(faults(rows[2:])) == []
    (found,) = faults(rows[3:])
    assert found.startswith("row 4 (verdict 4")


def test_two_runs_count_each_for_itself() -> None:
    """A verdict missing in one is not made up for by the other."""
    both = [*entries([1, 2]), *entries([1, 2], run="1" * 16), *entries([3]), *entries([4], run="1" * 16)]
    (found,) = faults(chain(both))
    assert "verdict 3 of run 1111111111111111" in found


def test_text_that_would_blur_the_fields_is_refused() -> None:
    """Two different rows never give the same line."""
    for field, value in {"topic": "accept.caps 1", "kind": "ver dict", "at": "now\n"}.items():
        with pytest.raises(ValueError, match="space or line feed"):
            linked(msgspec.structs.replace(entry(1), **{field: value}), 1, FIRST)
    with pytest.raises(ValueError, match="line feed in the body"):
        linked(msgspec.structs.replace(entry(1), body=b"{\n}"), 1, FIRST)
