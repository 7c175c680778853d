"""Files on a real disk: written whole or not at all, and deleted when they are too many."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.errors import LineError
from edge.recorder.names import day_of, picture_kind
from edge.recorder.retention import Limits
from edge.recorder.shelf import RETRY_NS, Shelf, check_folder
from edge.recorder.stock import AT_ONCE

DAY_NS = 86_400_000_000_000
LIMITS = Limits(nbytes=1000, days=30, sample_days=7)
NOW_NS = time.time_ns()


def shelf_in(folder: Path, reserve: int = 0, limits: Limits = LIMITS) -> Shelf:
    return Shelf(folder, limits, reserve, picture_kind)


def name(number: int, ago: int = 0, verdict: str = "reject_defect") -> str:
    """The name of a picture that was taken so many days ago."""
    return f"{day_of(NOW_NS - ago * DAY_NS)}/1-{number}_top_{verdict}.png"


def write(path: Path, nbytes: int = 100, at_ns: int = NOW_NS) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(nbytes))
    os.utime(path, ns=(at_ns, at_ns))


def put(shelf: Shelf, name: str, nbytes: int = 100) -> bool:
    return shelf.put(name, nbytes, lambda path: write(path, nbytes))


def tidy(shelf: Shelf, now_ns: int = NOW_NS) -> None:
    """Tidy until all is done, as the writer does while it has nothing to write."""
    shelf.tidy(now_ns)
    while shelf.is_counting:
        shelf.tidy(now_ns)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_nobody_else_can_read_the_folder(tmp_path: Path) -> None:
    """Pictures may show what is secret: the folder is this user's alone, and one that was open is closed."""
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o755)
    with shelf_in(folder) as shelf:
        put(shelf, name(1))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / name(1)).parent.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """A file that was not finished is no picture; what was finished is found again and counts."""
    write(tmp_path / f"{name(1)}.part")
    write(tmp_path / name(2), 950, NOW_NS - 1)
    with shelf_in(tmp_path) as shelf:
        tidy(shelf)
        assert files(tmp_path) == {name(2)}
        assert put(shelf, name(3))
        tidy(shelf)
    assert files(tmp_path) == {name(3)}


def test_the_reserve_of_the_disk_is_kept(tmp_path: Path) -> None:
    """With less room than the reserve, no file is written, and it is told; with room again, it goes on."""
    found = os.statvfs(tmp_path)
    with shelf_in(tmp_path, found.f_blocks * found.f_frsize) as tight:
        assert not put(tight, name(1))
        assert tight.is_full
        tight.look_again()
        assert tight.is_full
        assert files(tmp_path) == set()
    with shelf_in(tmp_path) as shelf:
        assert put(shelf, name(1))
        assert not shelf.is_full


def test_a_disk_that_fails_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A write that fails leaves no half file and is told once; when the disk works again, that is told too."""

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with shelf_in(tmp_path) as shelf:
        for _ in range(3):
            assert not shelf.put(name(1), 4, fail)
            assert shelf.is_full
        assert files(tmp_path) == set()
        shelf.look_again()
        assert not shelf.is_full
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "nothing is written: No space left on device",
        "files are written again",
    ]


def test_the_limits_hold_on_the_disk(tmp_path: Path) -> None:
    """The oldest pictures are deleted, samples of passed parts first, and folders of days with them."""
    kept = [name(1, 3), name(2, 3), name(3, 2, "pass_clean"), name(4, 1)]
    with shelf_in(tmp_path) as shelf:
        for each in kept:
            assert put(shelf, each, 300)
        tidy(shelf)
        assert files(tmp_path) == {kept[0], kept[1], kept[3]}
        assert not (tmp_path / kept[2]).parent.exists()
        tidy(shelf, NOW_NS + 28 * DAY_NS)
        assert files(tmp_path) == {kept[3]}
        tidy(shelf, NOW_NS + 30 * DAY_NS)
    assert files(tmp_path) == set()


@pytest.mark.parametrize("restarts", [False, True])
def test_of_a_day_that_is_too_large_the_oldest_pictures_go(tmp_path: Path, restarts: bool) -> None:
    """The newest stay, also if the recorder was started anew meanwhile."""
    names = [name(number) for number in range(12)]
    with shelf_in(tmp_path) as shelf:
        tidy(shelf)
        for number, each in enumerate(names):
            write(tmp_path / each, 100, NOW_NS - 100 + number) if restarts else put(shelf, each)
            os.utime(tmp_path / each, ns=(0, NOW_NS - 100 + number))
        if not restarts:
            tidy(shelf)
    with shelf_in(tmp_path) as shelf:
        tidy(shelf)
        shelf.tidy(NOW_NS)
        assert not shelf.is_counting, "it counts again without need"
    assert files(tmp_path) == set(names[3:])


def test_files_of_others_stay(tmp_path: Path) -> None:
    """What people put into the folder is neither deleted nor counted, however old and large it is."""
    theirs = {"notes.txt", "reports/1-1_top_reject_defect.png", f"{day_of(0)}/front.png", f"{day_of(0)}/a.part"}
    for each in theirs:
        write(tmp_path / each, 5000, 0)
    write(tmp_path / name(1))
    (tmp_path / day_of(DAY_NS)).symlink_to(tmp_path / "reports")
    with shelf_in(tmp_path) as shelf:
        put(shelf, name(2))
        tidy(shelf)
        assert files(tmp_path) == theirs | {name(1), name(2)}
        tidy(shelf, NOW_NS + 40 * DAY_NS)
    assert files(tmp_path) == theirs


def test_what_people_delete_makes_room(tmp_path: Path) -> None:
    """Pictures that are gone do not count, so no other picture is deleted in their place."""
    names = [name(number, ago=9 - number) for number in range(10)]
    with shelf_in(tmp_path) as shelf:
        for each in names:
            put(shelf, each)
        tidy(shelf)
        for each in names[5:]:
            (tmp_path / each).unlink()
        put(shelf, name(11))
        tidy(shelf)
    assert files(tmp_path) == {*names[:5], name(11)}


def test_pictures_that_come_while_it_counts_count_once(tmp_path: Path) -> None:
    """A start in a full folder goes on writing, deletes nothing before it knows, and then just what it must."""
    old = {name(number, ago=5) for number in range(3 * AT_ONCE)}
    for each in old:
        write(tmp_path / each, 1)
    came = {name(len(old) + number, ago=number % 2 * 5) for number in range(80)}
    limits = Limits(nbytes=len(old) + 10 * len(came), days=30, sample_days=7)
    with shelf_in(tmp_path, limits=limits) as shelf:
        shelf.tidy(NOW_NS)
        assert shelf.is_counting
        assert all(put(shelf, each, 10) for each in came)
        shelf.tidy(NOW_NS)
        assert shelf.is_counting
        assert files(tmp_path) == old | came, "it deletes before it has counted"
        tidy(shelf)
        assert files(tmp_path) == old | came, "something counted twice"
        put(shelf, name(0), 1)
        tidy(shelf)
    assert len(files(tmp_path)) < len(old) + len(came), "not everything counted"


def test_a_start_takes_no_memory_for_the_pictures_that_are_there(tmp_path: Path) -> None:
    """Nor does writing, counting and deleting: only so much as for a few days."""
    for number in range(4000):
        write(tmp_path / name(number, ago=number % 3), 1)
    limits = Limits(nbytes=3900, days=30, sample_days=7)
    with shelf_in(tmp_path, limits=limits) as shelf:
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        tidy(shelf)
        for number in range(4000, 4300):
            put(shelf, name(number), 1)
            tidy(shelf)
        now, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(files(tmp_path)) <= 3900
    # An entry for each file took more than 200 bytes.
    assert now - before < 4000 * 10


def test_a_recorder_that_still_writes_is_left_alone(tmp_path: Path) -> None:
    """That of a killed line may finish its file before the next line's deletes what is unfinished."""
    unfinished = tmp_path / f"{name(1)}.part"
    with shelf_in(tmp_path) as old:
        tidy(old)
        write(unfinished)
        with shelf_in(tmp_path) as shelf:
            put(shelf, name(2))
            tidy(shelf)
            assert unfinished.exists()
            old.__exit__()
            tidy(shelf)
            assert files(tmp_path) == {name(2)}
            old.__enter__()


@contextmanager
def undeletable(path: Path) -> Iterator[None]:
    """Make a file one that cannot be deleted, also not by root."""
    by_root = os.geteuid() == 0
    if by_root and subprocess.run(["chattr", "+i", path], capture_output=True).returncode:
        pytest.skip("this file system has no immutable files")
    path.parent.chmod(0o700 if by_root else 0o500)
    try:
        yield
    finally:
        path.parent.chmod(0o700)
        if by_root:
            subprocess.run(["chattr", "-i", path], check=True)


@pytest.mark.skipif(not shutil.which("chattr"), reason="no chattr: apt-get install e2fsprogs")
def test_what_cannot_be_deleted_is_tried_again_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told, and pictures are written all the same."""
    with shelf_in(tmp_path) as shelf:
        for number in range(12):
            put(shelf, name(number, ago=2))
        (oldest,) = (path for path in tmp_path.rglob("*_top_*") if path.name.startswith("1-0_"))
        os.utime(oldest, ns=(0, 0))
        with undeletable(oldest):
            tidy(shelf)
            assert shelf.is_full
            assert put(shelf, name(20))
            tidy(shelf)
        assert len(files(tmp_path)) == 13
        tidy(shelf)
        assert len(files(tmp_path)) == 13, "it tries again at once"
        tidy(shelf, NOW_NS + RETRY_NS)
        assert len(files(tmp_path)) == 9
    assert "cannot be read or deleted" in caplog.text


def test_a_folder_that_cannot_be_used_is_an_error_at_the_start(tmp_path: Path) -> None:
    """The line does not start without the place for its pictures; the error names the key."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LineError, match=r"recorder\.folder"), shelf_in(tmp_path / "file" / "kept"):
        pass


def test_the_check_before_the_start_finds_the_same(tmp_path: Path) -> None:
    """`edge check` names a folder that cannot be used, and makes none that can."""
    (tmp_path / "file").touch(0o755)
    with pytest.raises(LineError, match=r"recorder\.folder"):
        check_folder(tmp_path / "file" / "kept" / "line")
    check_folder(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
