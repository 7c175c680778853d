"""A black-box file: what is read from it is what was written, or an error."""

from __future__ import annotations

import zipfile
from pathlib import Path

import boxes
import msgspec
import numpy as np
import pytest

from edge.errors import RecordingError
from edge.recipe import Video
from edge.recorder.box import HEAD, PARTS, Box, Row, png_of, without_passwords, write_box

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 7), np.uint8)
COLOUR = RNG.integers(0, 256, (5, 6, 3), np.uint8)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "box.zip"
    write_box(path, boxes.head(), [boxes.kept(1, GREY), boxes.kept(2, COLOUR), boxes.kept(3, None)])
    return path


def read_all(path: Path) -> None:
    with Box(path) as box:
        box.head()
        for row in box.rows():
            for seen in row.seen:
                if seen.frame:
                    box.frame(seen.frame)


def test_what_is_read_is_what_was_written(written: Path) -> None:
    """Each pixel of a frame, each byte of a verdict and each field of a ledger's row are kept."""
    with Box(written) as box:
        assert box.head() == boxes.head()
        rows = list(box.rows())
        for number, (row, frame) in enumerate(zip(rows, (GREY, COLOUR, None), strict=True), 1):
            expected = boxes.kept(number, frame)
            assert (row.number, row.topic, bytes(row.verdict)) == (number, expected.topic, expected.body)
            assert [seen.part for seen in row.seen] == [look.part for look in expected.looks]
            name = row.seen[0].frame
            if frame is None or name is None:
                assert frame is name is None
            else:
                assert (box.frame(name) == frame).all()


def test_a_frame_that_is_not_contiguous_keeps_its_pixels(tmp_path: Path) -> None:
    """A frame may be a window of a larger picture."""
    path = tmp_path / "box.zip"
    write_box(path, boxes.head(), [boxes.kept(1, GREY[::2, 1:])])
    with Box(path) as box:
        (row,) = box.rows()
        assert row.seen[0].frame
        assert (box.frame(row.seen[0].frame) == GREY[::2, 1:]).all()


def test_a_person_can_open_it(written: Path) -> None:
    """It is a zip with a JSON text, a line of JSON for each part, and pictures."""
    with zipfile.ZipFile(written) as file:
        assert file.testzip() is None
        names = file.namelist()
        assert names == [HEAD, "frames/000001_1-1_camera.png", "frames/000002_1-2_camera.png", PARTS]
        assert len(file.read(PARTS).splitlines()) == 3


def test_no_password_of_a_camera_is_written(tmp_path: Path) -> None:
    """The recipe in the file has no secret, since files are sent to others."""
    source = Video(width=8, height=8, address="rtsp://anna:geheim@10.0.0.7/stream?token=abc")
    recipe = without_passwords(boxes.head(source).recipe)
    path = tmp_path / "box.zip"
    write_box(path, msgspec.structs.replace(boxes.head(), recipe=recipe), [])
    for secret in (b"anna", b"geheim", b"abc"):
        assert secret not in path.read_bytes()
    assert b"10.0.0.7/stream" in path.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flipped", "no zip", "gone"])
def test_a_damaged_file_is_refused(written: Path, damage: str) -> None:
    """Whatever byte is wrong, reading ends in an error that names the file, and never in another picture."""
    data = bytearray(written.read_bytes())
    if damage == "gone":
        written.unlink()
        tried = [None]
    elif damage == "no zip":
        tried = [b"PK\x03\x04" + bytes(40), b""]
    elif damage == "cut":
        tried = [bytes(data[:end]) for end in range(0, len(data), 97)]
    else:
        at = data.index(b"IDAT") + 12
        tried = [bytes(data[:at]) + bytes((data[at] ^ 1,)) + bytes(data[at + 1 :])]
    for bytes_ in tried:
        if bytes_ is not None:
            written.write_bytes(bytes_)
        with pytest.raises(RecordingError, match=written.name):
            read_all(written)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (HEAD, b'{"v": 2}', "version 2, expected 1"),
        (HEAD, b"{}", "version none"),
        (HEAD, b"[]", HEAD),
        (HEAD, b'{"v": 1}', "not of this version"),
        (PARTS, b"{}\n", f"{PARTS}, line 1"),
    ],
)
def test_a_file_of_another_version_says_so(tmp_path: Path, name: str, text: bytes, said: str) -> None:
    """What this version does not know is named, with the place."""
    path = tmp_path / "box.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, text)
        if name != HEAD:
            file.writestr(HEAD, msgspec.json.encode(boxes.head()))
    with pytest.raises(RecordingError, match=said):
        read_all(path)


def test_a_row_is_one_line(written: Path) -> None:
    """Tools that read JSON line by line can read the parts."""
    with zipfile.ZipFile(written) as file:
        first = file.read(PARTS).splitlines()[0]
    row = msgspec.json.decode(first, type=Row)
    assert msgspec.json.decode(row.verdict)["part_id"] == "1-1"
    assert png_of(GREY).startswith(b"\x89PNG")
