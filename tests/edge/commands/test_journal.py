"""`edge journal` tells what a line decided of a part, and whether anybody changed the record since."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from journals import RUN, alter, entries, entry, rows_in, verdict

from edge.journal.store import Journal, journal_path
from edge.messages import Judged, Look


def edge(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "journal", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of 30 verdicts, the tenth a reject, verdicts 15 to 19 missing."""
    with Journal(tmp_path, "caps") as journal:
        journal.event("start", RUN, b'{"line":"caps"}')
        journal.write([*entries(range(1, 10)), entry(10, kind="reject"), *entries(range(11, 15))])
        journal.write(entries(range(20, 31)), "the disk was full")
    return journal_path(tmp_path, "caps")


def test_verify_says_what_is_there_and_what_is_missing(path: Path) -> None:
    """Status 0; the last row's hash, to be noted elsewhere, and each gap with its numbers and reason."""
    done = edge("verify", path)
    assert done.returncode == 0, done.stderr
    gap, last = done.stdout.splitlines()
    assert gap == f"gap: row 16: verdicts 15 to 19 of run {RUN}: the disk was full"
    assert "27 rows are whole: 25 verdicts, 5 missing" in last
    assert rows_in(path)[-1].hash in last


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE journal SET body = replace(body, 'reject', 'pass') WHERE id = 11", "row 11 (verdict 10"),
        ("DELETE FROM journal WHERE id = 11", "row 12 (verdict 11"),
        ("UPDATE journal SET hash = previous WHERE id = 5", "row 5 (verdict 4"),
        ("UPDATE journal SET number = 'x', at = x'ff' WHERE id = 5", "row 5 (verdict -1"),
    ],
)
def test_verify_finds_a_change_and_names_the_first_row(path: Path, statement: str, row: str) -> None:
    """Status 1, whatever the row holds now."""
    alter(path, statement)
    done = edge("verify", path)
    assert done.returncode == 1
    assert f"first: {row}" in done.stderr


def test_verify_finds_a_flipped_bit_in_the_file(path: Path) -> None:
    """Also one that leaves neither UTF-8 nor JSON."""
    data = bytearray(path.read_bytes())
    data[data.index(b'{"v":1', data.index(b"accept.caps2026-11-30T12:00:04"))] ^= 0x80
    path.write_bytes(data)
    done = edge("verify", path)
    assert done.returncode == 1
    assert "first: row 5 (verdict 4" in done.stderr


def test_verify_finds_a_damaged_page(path: Path) -> None:
    """Also where a row can no longer be read at all, and where only an index is damaged."""
    data = bytearray(path.read_bytes())
    data[4096 * 2 : 4096 * 3] = bytes(4096)
    path.write_bytes(data)
    done = edge("verify", path)
    assert done.returncode == 1
    assert "broken: " in done.stdout


def test_show_tells_of_a_part(path: Path) -> None:
    """What was decided, when, on which topic, and that its row is as it was written."""
    done = edge("show", "7-10", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("part 7-10 of line caps: reject (defect) on reject.caps\n")
    assert "2026-11-30T12:00:10.012000Z, 12.0 ms later\n" in done.stdout
    assert f"row 11, number 10 of run {RUN}; its hash is right" in done.stdout
    said = json.loads(edge("show", "7-10", path, "--json").stdout)
    assert (said["verdict"], said["body"]["part_id"], said["hash"]) == (
        "reject",
        "7-10",
        rows_in(path)[10].hash,
    )
    done = edge("show", "7-99", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing of a part '7-99'" in done.stderr


def test_show_tells_what_each_camera_saw(tmp_path: Path) -> None:
    """Of a line with several cameras, with the judges of each."""
    judged = Judged(
        name="seal", verdict="reject", reason="defect", score=0.9, threshold=0.5, p_value=None, bundle="b" * 64
    )
    seen = Look(
        camera="top",
        entry=3,
        view="a",
        source_ref="",
        captured_ns=1,
        registration_px=None,
        reason="dark",
        judges=[],
    )
    looks = [seen, msgspec.structs.replace(seen, camera="side", reason="defect", judges=[judged])]
    said = msgspec.structs.replace(verdict(1, "reject", "defect"), looks=looks)
    with Journal(tmp_path, "caps") as journal:
        journal.write([msgspec.structs.replace(entry(1), body=msgspec.json.encode(said))])
    shown = edge("show", "7-1", journal_path(tmp_path, "caps")).stdout
    assert "look       by top, view 'a': dark\n" in shown
    assert "look       by side, view 'a': defect\n    judge    seal: reject (defect), score 0.9 of 0.5" in shown


def test_show_does_not_hide_a_change(path: Path) -> None:
    """Who reads one part alone is warned too."""
    alter(path, "UPDATE journal SET body = replace(body, 'clean', 'dirty') WHERE id = 5")
    assert "IS NOT THAT OF ITS CONTENT" in edge("show", "7-4", path).stdout


def test_export_gives_the_rows_of_a_time_as_csv(path: Path) -> None:
    """With the exact body, so that nothing is lost; times without a zone are UTC."""
    done = edge(
        "export", path, "--csv", "-", "--from", "2026-11-30T12:00:08", "--to", "2026-11-30T14:00:11+02:00"
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["part_id"], row["verdict"]) for row in rows] == [
        ("7-8", "pass"),
        ("7-9", "pass"),
        ("7-10", "reject"),
    ]
    assert rows[2]["body"].encode() == rows_in(path)[10].body
    assert rows[2]["view"] == "über"


def test_export_gives_parquet(path: Path, tmp_path: Path) -> None:
    """All rows with numbers as numbers and times as times, as any tool for tables reads them."""
    pyarrow = pytest.importorskip("pyarrow.parquet")
    done = edge("export", path, "--parquet", tmp_path / "caps.parquet")
    assert done.returncode == 0, done.stderr
    table = pyarrow.read_table(tmp_path / "caps.parquet")
    assert table.num_rows == 27
    found = table.slice(10, 1).to_pylist()[0]
    assert (found["verdict"], found["number"], found["score"]) == ("reject", 10, 0.25)
    assert f"{found['at']:%Y-%m-%dT%H:%M:%S.%f %Z}" == "2026-11-30T12:00:10.012000 UTC"
    assert found["body"].encode() == rows_in(path)[10].body


def test_export_without_pyarrow_says_what_to_install(path: Path, tmp_path: Path) -> None:
    """The line itself needs none of it."""
    code = "import sys; sys.modules['pyarrow'] = None; from edge.__main__ import main; main()"
    words = ["journal", "export", str(path), "--parquet", str(tmp_path / "caps.parquet")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'linejudge[parquet]'" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("verify", "none.sqlite"), "none.sqlite: there is no such journal"),
        (("verify", __file__), "file is not a database"),
        (("export", "caps.sqlite"), "either --csv FILE or --parquet FILE"),
        (("export", "none.sqlite", "--csv", "-", "--from", "yesterday"), "--from 'yesterday': is no time"),
        (("show", "7-1", "none.sqlite"), "there is no such journal"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(words: tuple[str, ...], told: str) -> None:
    """Without a traceback, with status 1."""
    done = edge(*words)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_journal_on_a_medium_that_nobody_can_write_is_read(path: Path, tmp_path: Path) -> None:
    """As an auditor has it: the file alone, in a folder that is mounted read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / path.name).write_bytes(path.read_bytes())
    mounted = subprocess.run(["mount", "--bind", disk, disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a folder read-only")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
        done = edge("verify", disk / path.name)
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(["umount", disk], check=True)
