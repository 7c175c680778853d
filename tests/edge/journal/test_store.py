"""What was committed to a journal stays, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest
from journals import RUN, alter, entries, entry, rows_in

import edge.journal.database
from edge.errors import JournalDamaged, JournalError, JournalFull
from edge.journal.chain import Gap
from edge.journal.reading import verify
from edge.journal.store import Journal, journal_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_path(tmp_path, "caps")


def test_what_is_written_is_read_and_verifies(tmp_path: Path, path: Path) -> None:
    """Byte for byte, in order, also after the file was closed and opened in between."""
    written = entries(range(1, 8))
    for some in (written[:3], written[3:]):
        with Journal(tmp_path, "caps") as journal:
            assert journal.write(some) == 0
    assert [(row.number, row.topic, row.at, row.body) for row in rows_in(path)] == [
        (each.number, each.topic, each.at, each.body) for each in written
    ]
    found = verify(path)
    assert (found.rows, found.verdicts, found.missing, found.faults) == (7, 7, 0, [])


def test_a_verdict_that_comes_again_is_written_once(tmp_path: Path, path: Path) -> None:
    """As after a restart, when the ledger is read again from its beginning."""
    with Journal(tmp_path, "caps") as journal:
        journal.write(entries(range(1, 6)))
        journal.write(entries(range(3, 9)))
        assert journal.last(RUN) == 8
    assert [row.number for row in rows_in(path)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_verdicts_that_cannot_be_written_become_a_gap(tmp_path: Path, path: Path) -> None:
    """It says from which number to which, and why; the verdict after it follows at once."""
    with Journal(tmp_path, "caps") as journal:
        journal.write(entries([1, 2]))
        assert journal.write(entries([7, 8]), "the disk was full") == 4
        journal.event("alarm", RUN, b'{"line":"caps"}')
        assert journal.write([]) == 0
        assert journal.last(RUN) == 8
    gap = rows_in(path)[2]
    assert (gap.kind, gap.number) == ("gap", 6)
    assert msgspec.json.decode(gap.body, type=Gap) == Gap(line="caps", first=3, last=6, why="the disk was full")
    assert [row.number for row in rows_in(path)] == [1, 2, 6, 7, 8, 8]
    found = verify(path)
    assert (found.verdicts, found.missing, found.faults) == (4, 4, [])
    assert found.gaps == [f"row 3: verdicts 3 to 6 of run {RUN}: the disk was full"]


def test_each_run_counts_from_one(tmp_path: Path) -> None:
    """A killed run's last verdicts, which the next start publishes, go on from that run's own number."""
    other = "1" * 16
    with Journal(tmp_path, "caps") as journal:
        journal.event("start", RUN, b"{}")
        journal.write(entries([1, 2]))
        journal.event("start", other, b"{}")
        assert journal.write([*entries([1], other), *entries([2, 3, 4]), *entries([2], other)]) == 0
        assert (journal.last(RUN), journal.last(other), journal.last("2" * 16)) == (4, 2, 0)
        assert (journal.knows(RUN), journal.knows("2" * 16)) == (True, False)


WRITER = """
import sys
from pathlib import Path
from journals import RUN, entries
from edge.journal.store import Journal
with Journal(Path(sys.argv[1]), "caps") as journal:
    number = journal.last(RUN)
    while True:
        journal.write(entries(range(number + 1, number + 6)))
        number += 5
        print(number, flush=True)
"""


def test_a_process_killed_at_any_moment_loses_nothing_that_was_committed(tmp_path: Path, path: Path) -> None:
    """What it had said to be written is there; the next process goes on, and the chain holds over all."""
    rng = random.Random(3)
    said = 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as process:
            assert process.stdout
            said = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
            said = max([said, *(int(line) for line in process.stdout if line.endswith("\n"))])
        found = verify(path)
        assert found.faults == []
        assert found.verdicts >= said
        assert found.verdicts % 5 == 0
    assert found.verdicts >= 6 * 5  # each process committed before it was killed


def test_a_commit_waits_until_the_disk_has_it(tmp_path: Path) -> None:
    """SQLite is told to sync the log at each commit, since a power cut may come right after it."""
    with Journal(tmp_path, "caps") as journal:
        assert journal._db is not None
        assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_full_disk_leaves_the_journal_whole_and_it_goes_on_when_there_is_room(small_disk: Path) -> None:
    """What could not be written meanwhile can be written later, or becomes a gap."""
    with Journal(small_disk, "caps") as journal:
        number = 0
        (small_disk / "other").write_bytes(bytes(300_000))
        with pytest.raises(JournalFull, match="the disk is full"):  # noqa: PT012
            while number < 10_000:
                journal.write(entries(range(number + 1, number + 51)))
                number += 50
        with pytest.raises(JournalFull):
            journal.write(entries(range(number + 1, number + 51)))
        assert journal.last(RUN) == number > 0
        (small_disk / "other").unlink()
        journal.write(entries(range(number + 1, number + 11)))
        assert journal.write(entries([number + 31]), "the disk was full") == 20
    found = verify(journal_path(small_disk, "caps"))
    assert (found.verdicts, found.missing, found.faults) == (number + 11, 20, [])


def test_a_journal_that_cannot_begin_because_the_disk_is_full_says_so(small_disk: Path) -> None:
    """And begins when there is room."""
    other = small_disk / "other"
    with suppress(OSError), other.open("wb") as file:
        while True:
            os.write(file.fileno(), bytes(4096))
    with pytest.raises(JournalFull):
        Journal(small_disk, "caps")
    other.unlink()
    with Journal(small_disk, "caps") as journal:
        journal.write(entries([1]))
    assert len(rows_in(journal_path(small_disk, "caps"))) == 1


def damage_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"not a database at all")


def damage_row(path: Path) -> None:
    """Flip one bit in the body of the last row."""
    data = bytearray(path.read_bytes())
    at = data.index(b'"7-40"')
    data[at + 2] ^= 1
    path.write_bytes(data)


def damage_pages(path: Path) -> None:
    """Overwrite all pages but the first with noise."""
    data = bytearray(path.read_bytes())
    data[4096:] = random.Random(5).randbytes(len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [damage_header, damage_row, damage_pages])
def test_a_damaged_file_is_put_aside_and_a_new_one_begins(tmp_path: Path, path: Path, damage: object) -> None:
    """It is never deleted, and the first row of the new one names it."""
    with Journal(tmp_path, "caps") as journal:
        journal.write(entries(range(1, 41)))
    assert callable(damage)
    damage(path)
    damaged = path.read_bytes()
    with Journal(tmp_path, "caps") as journal:
        assert journal.aside is not None
        journal.write(entries(range(30, 43)), "they are in the file that was put aside")
        aside = journal.aside
    assert aside.read_bytes() == damaged
    begun, gap, *others = rows_in(path)
    assert begun.kind == "begun"
    assert msgspec.json.decode(begun.body)["after"] == aside.name
    assert (gap.kind, gap.number) == ("gap", 29)
    assert [row.number for row in others] == list(range(30, 43))
    assert verify(path).faults == []


def test_damage_found_while_writing_is_told_and_the_file_can_be_put_aside(tmp_path: Path, path: Path) -> None:
    """The rows that are written afterwards are in the new file."""
    with Journal(tmp_path, "caps") as journal:
        journal.write(entries(range(1, 41)))
    with Journal(tmp_path, "caps") as journal:
        damage_pages(path)
        with pytest.raises(JournalDamaged, match=str(path)):
            journal.write(entries(range(41, 200)))
        journal.put_aside()
        journal.write(entries(range(1, 5)))
    assert [row.kind for row in rows_in(path)] == ["begun", *["verdict"] * 4]
    assert verify(path).faults == []


def test_old_rows_are_deleted_and_the_rest_still_verifies(tmp_path: Path, path: Path) -> None:
    """At most a thousand at once; a row says which were deleted, and that row is in the chain."""
    with Journal(tmp_path, "caps") as journal:
        journal.write(entries(range(1, 1501)))
        assert journal.trim(RUN, keep_days=10**5, keep_mb=0) is False
        assert rows_in(path)[0].id == 1
        # Noon of that day is in the past or the future of the machine's clock: the year 1 is always too young.
        alter(path, "UPDATE journal SET at = '1999' || substr(at, 5) WHERE id <= 1200")
    with Journal(tmp_path / "again", "caps") as journal:
        journal.write([msgspec.structs.replace(e, at="1999" + e.at[4:]) for e in entries(range(1, 1201))])
        journal.write(entries(range(1201, 1501)))
        assert journal.trim(RUN, keep_days=365, keep_mb=0) is True
        assert journal.trim(RUN, keep_days=365, keep_mb=0) is False
        assert journal.trim(RUN, keep_days=365, keep_mb=0) is False
    kept = journal_path(tmp_path / "again", "caps")
    assert [row.kind for row in rows_in(kept)] == ["verdict"] * 300 + ["deleted"] * 2
    assert rows_in(kept)[0].number == 1201
    found = verify(kept)
    assert (found.verdicts, found.faults) == (300, [])
    alter(kept, "DELETE FROM journal WHERE id = (SELECT min(id) FROM journal)")
    assert verify(kept).faults[0].startswith("row 1202 (verdict 1202")


def test_a_file_that_is_too_large_loses_its_oldest_rows_and_stops_growing(tmp_path: Path, path: Path) -> None:
    """The newest row always stays."""
    with Journal(tmp_path, "caps") as journal:
        sizes = []
        for begin in range(1, 12_000, 1000):
            journal.write(entries(range(begin, begin + 1000)))
            while journal.trim(RUN, keep_days=0, keep_mb=3):
                pass
            sizes.append(path.stat().st_size)
    assert sizes[-1] < 6_000_000
    assert rows_in(path)[-1].id > 12_000
    assert rows_in(path)[0].id > 6000
    assert verify(path).faults == []


def test_a_second_writer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two would tear the chain; the second is told which file, and waits for the first to end."""
    monkeypatch.setattr(edge.journal.database, "LOCK_S", 0.1)
    with Journal(tmp_path, "caps"), pytest.raises(JournalError, match=r"caps\.lock: another process writes"):
        Journal(tmp_path, "caps")
    with Journal(tmp_path, "caps") as journal:
        journal.write(entries([1]))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With what to do about it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"file.*Not a directory.*\[journal\] folder"):
        Journal(tmp_path / "file" / "journals", "caps")


def test_a_journal_of_another_version_is_left_alone(tmp_path: Path, path: Path) -> None:
    """It is neither written nor put aside."""
    with Journal(tmp_path, "caps") as journal:
        journal.write(entries([1]))
    alter(path, "PRAGMA user_version = 9")
    with pytest.raises(JournalError, match="version 9, expected 1"):
        Journal(tmp_path, "caps")
    assert [found.name for found in tmp_path.iterdir() if "damaged" in found.name] == []


def test_it_is_read_while_it_is_written(tmp_path: Path, path: Path) -> None:
    """A reader sees what was committed, and does not stop the writer."""
    with Journal(tmp_path, "caps") as journal:
        journal.write(entries(range(1, 11)))
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM journal").fetchone() == (10,)
            journal.write(entries(range(11, 21)))
            assert verify(path).verdicts == 20


def test_what_is_found_by_part_time_and_verdict_uses_an_index(tmp_path: Path, path: Path) -> None:
    """So that a question about one part of a year's ten millions takes no minutes."""
    with Journal(tmp_path, "caps") as journal:
        journal.write([*entries([1, 2]), entry(3, kind="reject")])
    with closing(sqlite3.connect(path)) as db:
        for where in ("part_id = '7-3'", "at >= '2026-11-30T12:00:02'", "kind = 'verdict' AND run = 'x'"):
            (plan,) = db.execute(f"EXPLAIN QUERY PLAN SELECT id FROM journal WHERE {where}").fetchall()
            assert "INDEX" in plan[3], where
        found = db.execute(
            "SELECT part_id, line, camera, verdict, reason, captured_at FROM journal WHERE id = 3"
        )
        assert found.fetchone() == ("7-3", "caps", "top", "reject", "defect", "2026-11-30T12:00:03.000000Z")


def test_the_commands_of_the_document_verify_it_without_this_program(tmp_path: Path, path: Path) -> None:
    """With `sqlite3` and `sha256sum` alone: an auditor needs to trust nobody's code but those."""
    if not shutil.which("sqlite3"):
        pytest.skip("needs the program sqlite3")
    with Journal(tmp_path, "caps") as journal:
        journal.event("start", RUN, '{"line":"caps","über":"\\n\\\\"}'.encode())
        journal.write(entries(range(1, 30)))
    document = Path(__file__).parents[3] / "docs" / "journal.md"
    commands = document.read_text().split("```sh\n")[1].split("```")[0].replace("caps.sqlite", str(path))

    def outcome() -> tuple[int, str]:
        done = subprocess.run(["bash", "-e", "-c", commands], capture_output=True, text=True, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    assert outcome() == (0, "0\n")
    alter(path, "UPDATE journal SET body = replace(body, 'pass', 'fail') WHERE id = 12")
    status, said = outcome()
    assert status == 1
    assert "line 12" in said
