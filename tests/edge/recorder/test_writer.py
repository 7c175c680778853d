"""Pictures and black boxes on the disk, written by a thread of their own."""

from __future__ import annotations

import threading
from pathlib import Path

import boxes
import numpy as np
import pytest
from lines import until

from edge.memory.recorded import Recorded
from edge.pictures import decode
from edge.pictures.png_text import text_in
from edge.recipe import BlackBox, Recorder
from edge.recorder import writer as module
from edge.recorder.box import Box
from edge.recorder.writer import VERDICT, Writer

#: The parts in these tests are of a day long ago.
DAYS = 100_000
FRAME = np.random.default_rng(1).integers(0, 256, (40, 30), np.uint8)


def recording(folder: Path) -> Recorder:
    return Recorder(folder=str(folder), reserve_mb=0, days=DAYS)


def test_a_picture_has_its_verdict_with_it(tmp_path: Path) -> None:
    """Each pixel is kept, and the verdict that was published is inside the file."""
    counts = Recorded.create(tmp_path)
    part = boxes.kept(4, FRAME, verdict="reject", reason="defect")
    with Writer(recording(tmp_path), "board-a", counts) as writer:
        writer.picture(part)
    data = (tmp_path / "board-a/pictures/2026-01-02/1-4_camera_reject_defect.png").read_bytes()
    assert (decode(data, "picture") == FRAME).all()
    assert text_in(data, VERDICT) == part.body
    assert counts["pictures"] == 1


def test_a_part_without_a_frame_gets_no_picture(tmp_path: Path) -> None:
    """No file is written that could be taken for a picture of the part."""
    with Writer(recording(tmp_path), "a", Recorded.create(tmp_path)) as writer:
        writer.picture(boxes.kept(4, None, verdict="unknown", reason="late"))
    assert not list((tmp_path / "a").rglob("*.png"))


def test_a_black_box_is_one_file(tmp_path: Path) -> None:
    """Its name says when it was written and after what."""
    counts = Recorded.create(tmp_path)
    with Writer(recording(tmp_path), "a", counts) as writer:
        writer.box(boxes.head(), [boxes.kept(1, FRAME)], 1_764_545_130_000_000_000)
    with Box(tmp_path / "a/boxes/2025-11-30/232530_000001_unknown-view.zip") as box:
        (row,) = box.rows()
    assert row.number == 1
    assert counts["boxes"] == 1


def test_a_disk_without_room_is_told(tmp_path: Path) -> None:
    """The counts, which the line's metrics show, say that nothing could be written and how much."""
    counts = Recorded.create(tmp_path)
    choice = Recorder(folder=str(tmp_path / "kept"), reserve_mb=2**40)
    with Writer(choice, "a", counts) as writer:
        writer.picture(boxes.kept(1, FRAME, verdict="reject"))
        writer.box(boxes.head(), [boxes.kept(1, FRAME)], 0)
    assert counts["full"] == 2
    assert counts["is_full"] == 1
    assert (counts["pictures"], counts["boxes"]) == (0, 0)
    assert Recorded.open(tmp_path)["full"] == 2, "another process reads them"
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []


def test_a_writer_that_is_behind_drops_pictures_and_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits has a limit; those who give the pictures never wait."""
    go_on, real = threading.Event(), module.png_of

    def slow(frame: np.ndarray) -> bytes:
        go_on.wait(30)
        return real(frame)

    monkeypatch.setattr(module, "png_of", slow)
    counts = Recorded.create(tmp_path)
    large = np.zeros((600, 1024), np.uint8)
    choice = Recorder(folder=str(tmp_path), reserve_mb=0, days=DAYS, box=BlackBox(memory_mb=2))
    with Writer(choice, "a", counts) as writer:
        for number in range(1, 9):
            writer.picture(boxes.kept(number, large, verdict="reject"))
        go_on.set()
    assert counts["busy"] == 5
    assert counts["pictures"] == 3


def test_two_black_boxes_of_one_second_are_two_files(tmp_path: Path) -> None:
    """No black box takes the place of an earlier one."""
    with Writer(recording(tmp_path), "a", Recorded.create(tmp_path)) as writer:
        for number in (1, 2):
            writer.box(boxes.head(), [boxes.kept(number, FRAME)], 0)
    assert len(list((tmp_path / "a/boxes").rglob("*.zip"))) == 2


def test_a_writer_that_ends_gives_up_what_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large black box does not hold up the end of the line, and leaves no half file."""
    monkeypatch.setattr(module, "CLOSE_S", 0.0)
    counts, large = Recorded.create(tmp_path), np.zeros((2000, 2000), np.uint8)
    with Writer(recording(tmp_path), "a", counts) as writer:
        writer.box(boxes.head(), [boxes.kept(number, large) for number in range(1, 400)], 0)
    assert [path for path in (tmp_path / "a").rglob("*") if path.is_file()] == []
    assert counts["boxes"] == 0


def test_an_error_of_the_writer_ends_the_recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that cannot write any more does not go on as if it could: it is started again."""

    def fail(frame: np.ndarray) -> bytes:
        raise MemoryError("no memory")

    monkeypatch.setattr(module, "png_of", fail)
    made = Writer(recording(tmp_path), "a", Recorded.create(tmp_path))
    with made as writer, pytest.raises(MemoryError):
        until(lambda: writer.picture(boxes.kept(1, FRAME, verdict="reject")), "the error is told")
