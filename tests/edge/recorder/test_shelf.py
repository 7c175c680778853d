"""Files on a real disk: written whole or not at all, and deleted when they are too many."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.errors import LineError
from edge.recorder.retention import Limits
from edge.recorder.shelf import Shelf, check_folder

DAY_NS = 86_400_000_000_000
LIMITS = Limits(nbytes=1000, age_ns=30 * DAY_NS, sample_age_ns=7 * DAY_NS)


def opened(folder: Path, reserve: int = 0, limits: Limits = LIMITS) -> Shelf:
    shelf = Shelf(folder, limits, reserve, lambda name: "pass" in name)
    shelf.open()
    return shelf


def put(shelf: Shelf, name: str, nbytes: int = 100) -> bool:
    return shelf.put(name, nbytes, lambda path: path.write_bytes(bytes(nbytes)) and None)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_nobody_else_can_read_the_folder(tmp_path: Path) -> None:
    """Pictures may show what is secret: the folder is this user's alone, and one that was open is closed."""
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o755)
    put(opened(folder), "day/a.png")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "day").stat().st_mode & 0o777 == 0o700


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """A file that was not finished is no picture; what was finished is found again and counts."""
    (tmp_path / "day").mkdir()
    (tmp_path / "day/half.png.part").write_bytes(b"x")
    (tmp_path / "day/old.png").write_bytes(bytes(950))
    shelf = opened(tmp_path)
    assert files(tmp_path) == ["day/old.png"]
    assert put(shelf, "day/new.png")
    shelf.tidy(os.stat(tmp_path / "day/new.png").st_mtime_ns)
    assert files(tmp_path) == ["day/new.png"]


def test_the_reserve_of_the_disk_is_kept(tmp_path: Path) -> None:
    """With less room than the reserve, no file is written, and it is told; with room again, it goes on."""
    shelf = opened(tmp_path)
    found = os.statvfs(tmp_path)
    tight = Shelf(tmp_path, LIMITS, found.f_blocks * found.f_frsize)
    tight.open()
    assert not put(tight, "a.png")
    assert tight.is_full
    tight.look_again()
    assert tight.is_full
    assert files(tmp_path) == []
    assert put(shelf, "a.png")
    assert not shelf.is_full


def test_a_disk_that_fails_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A write that fails leaves no half file and is told once; when the disk works again, that is told too."""
    shelf = opened(tmp_path)

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    for _ in range(3):
        assert not shelf.put("day/a.png", 4, fail)
        assert shelf.is_full
    assert files(tmp_path) == []
    shelf.look_again()
    assert not shelf.is_full
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "nothing is written: No space left on device",
        "files are written again",
    ]


def test_the_limits_hold_on_the_disk(tmp_path: Path) -> None:
    """The oldest pictures are deleted, samples of passed parts first, and folders of days with them."""
    shelf = opened(tmp_path)
    for number, name in enumerate(["1/a.png", "1/b.png", "2/pass.png", "3/c.png"]):
        assert put(shelf, name, 300)
        os.utime(tmp_path / name, ns=(number, number))
    shelf = opened(tmp_path)
    shelf.tidy(5)
    assert files(tmp_path) == ["1/a.png", "1/b.png", "3/c.png"]
    assert not (tmp_path / "2").exists()
    shelf.tidy(DAY_NS * 31)
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_used_is_an_error_at_the_start(tmp_path: Path) -> None:
    """The line does not start without the place for its pictures; the error names the key."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LineError, match=r"recorder\.folder"):
        opened(tmp_path / "file" / "kept")


def test_the_check_before_the_start_finds_the_same(tmp_path: Path) -> None:
    """`edge check` names a folder that cannot be used, and makes none that can."""
    (tmp_path / "file").touch(0o755)
    with pytest.raises(LineError, match=r"recorder\.folder"):
        check_folder(tmp_path / "file" / "kept" / "line")
    check_folder(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
