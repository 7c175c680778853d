"""A folder plays like a camera: in order, at its pace, and a picture that is not one is a part all the same."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge import recipe
from edge.errors import PartError, SourceEnded, SourceError
from edge.memory.ledger import ROWS
from edge.sources import EarlierPicture, open_source
from edge.sources.watched_folder import POLL_S

HEIGHT, WIDTH = 49, 65


def picture(level: int, *channels: int) -> np.ndarray[Any, Any]:
    noise = np.random.default_rng(level).integers(0, 10, (HEIGHT, WIDTH, *channels))
    return (level + noise).astype(np.uint8)


def section(folder: Path, files: str = "*.png", **changes: Any) -> recipe.Folder:
    return recipe.Folder(
        files=str(folder / files), **{"width": WIDTH, "height": HEIGHT, "fps": 10000.0, **changes}
    )


def levels_shown(wanted: recipe.Folder, most: int = 100) -> list[int | str]:
    """Of each part: the level of its picture, or why it has none."""
    shown: list[int | str] = []
    with open_source(wanted) as source:
        while len(shown) < most:
            try:
                assert source.wait(10)
            except SourceEnded:
                break
            out = np.zeros(wanted.shape, np.uint8)
            try:
                source.read(out)
                shown.append(int(np.median(out)) // 10 * 10)
            except PartError as error:
                shown.append(f"{error.reason}: {error.detail}")
    return shown


def test_pictures_come_in_the_order_people_count(tmp_path: Path) -> None:
    """part-9 comes before part-10."""
    for number in (10, 9, 1):
        cv2.imwrite(str(tmp_path / f"part-{number}.png"), picture(number * 10))
    assert levels_shown(section(tmp_path)) == [10, 90, 100]


def test_a_trigger_names_the_file(tmp_path: Path) -> None:
    """A verdict can tell which picture it judged."""
    cv2.imwrite(str(tmp_path / "part-1.png"), picture(10))
    with open_source(section(tmp_path)) as source:
        trigger = source.wait(10)
        assert trigger
        assert trigger.source_ref == str(tmp_path / "part-1.png")


def test_repeat_begins_again_behind_the_last_picture(tmp_path: Path) -> None:
    """A demonstration can run all day on three pictures."""
    for level in (10, 20):
        cv2.imwrite(str(tmp_path / f"{level}.png"), picture(level))
    assert levels_shown(section(tmp_path, repeat=True), most=5) == [10, 20, 10, 20, 10]


@pytest.mark.parametrize(
    ("files", "path", "view"),
    [
        ("{view}_test.png", "left_test.png", "left"),
        ("{view}/*.png", "left/1.png", "left"),
        ("**/{view}-?.png", "monday/left-3.png", "left"),
        ("[set]/{view}.png", "[set]/left.png", "left"),
        ("*.png", "1.png", "top-camera"),
    ],
    ids=["in the name", "a folder", "below folders", "odd folder", "none: the camera"],
)
def test_the_view_is_told_by_the_name(tmp_path: Path, files: str, path: str, view: str) -> None:
    """The master is found by the part of the name that stands for `{view}`."""
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(tmp_path / path), picture(10))
    with open_source(section(tmp_path, files, camera="top-camera")) as source:
        trigger = source.wait(10)
    assert trigger
    assert trigger.view == view


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp", "tif"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.97])
def test_a_truncated_picture_is_a_part_without_a_picture(tmp_path: Path, kind: str, kept: float) -> None:
    """A half-written file is never judged as if it were whole, and the next part comes."""
    done, data = cv2.imencode(f".{kind}", np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH), np.uint8))
    assert done
    (tmp_path / f"1.{kind}").write_bytes(data.tobytes()[: int(len(data) * kept)])
    cv2.imwrite(str(tmp_path / f"2.{kind}"), picture(50))
    first, second = levels_shown(section(tmp_path, f"*.{kind}"))
    assert str(first).startswith(f"frame: {tmp_path}/1.{kind}: ")
    assert second == 50


@pytest.mark.parametrize(
    ("stored", "color", "told"),
    [
        (
            np.zeros((HEIGHT + 1, WIDTH), np.uint8),
            "gray",
            f"expected {WIDTH}x{HEIGHT} gray, found {WIDTH}x{HEIGHT + 1} gray",
        ),
        (np.zeros((HEIGHT, WIDTH), np.uint8), "bgr", "bgr, found 65x49 gray"),
        (np.full((HEIGHT, WIDTH, 3), (0, 90, 200), np.uint8), "gray", "gray, found 65x49 bgr"),
        (np.zeros((HEIGHT, WIDTH, 4), np.uint8), "bgr", "bgr, found 65x49 4 channels"),
        (np.zeros((HEIGHT, WIDTH), np.uint16), "gray", "gray, found 65x49 gray uint16"),
    ],
    ids=["another size", "grey for colour", "colour for grey", "transparent", "16 bits"],
)
def test_another_picture_than_expected_is_never_converted(
    tmp_path: Path, stored: np.ndarray[Any, Any], color: str, told: str
) -> None:
    """The part becomes unknown, and the text says what was expected and what came."""
    cv2.imwrite(str(tmp_path / "1.png"), stored)
    [shown] = levels_shown(section(tmp_path, color=color))
    assert told in str(shown)


def test_grey_that_is_stored_in_three_channels_is_grey(tmp_path: Path) -> None:
    """Many cameras write grey pictures as colour files; those are what they show."""
    cv2.imwrite(str(tmp_path / "1.png"), cv2.cvtColor(picture(70), cv2.COLOR_GRAY2BGR))
    assert levels_shown(section(tmp_path)) == [70]


def test_colour_comes_unchanged(tmp_path: Path) -> None:
    """Pixels are those of the file, in BGR."""
    stored = picture(100, 3)
    cv2.imwrite(str(tmp_path / "1.png"), stored)
    wanted = section(tmp_path, color="bgr")
    out = np.zeros((2 * HEIGHT, WIDTH, 3), np.uint8)[::2]  # a slot need not be contiguous
    with open_source(wanted) as source:
        assert source.wait(10)
        source.read(out)
    assert np.array_equal(out, stored)


def test_no_picture_of_that_name_is_said_at_once(tmp_path: Path) -> None:
    """A wrong path is an error before the line starts."""
    with pytest.raises(SourceError, match=r"\*\.png: no picture has such a name"):
        open_source(section(tmp_path)).__enter__()


def refs_shown(source: Any, count: int) -> list[str]:
    """The names of so many pictures, as verdicts would tell them."""
    triggers = [source.wait(10) for _ in range(count)]
    return [Path(trigger.source_ref).name for trigger in triggers]


def test_a_view_that_no_part_has_room_for_is_said(tmp_path: Path) -> None:
    """The part is unknown for its view, and the next one comes."""
    for view in ("left", "m" * 129, "ü" * 65):
        cv2.imwrite(str(tmp_path / f"{view}.png"), picture(50))
    first, *others = levels_shown(section(tmp_path, "{view}.png"))
    assert first == 50
    assert [str(other).split(": ")[0] for other in others] == ["view", "view"]
    assert "the view in its name has 130 bytes, a part has room for 128" in str(others[1])


def test_a_view_that_stands_twice_is_the_same_in_both_places(tmp_path: Path) -> None:
    """A picture in the wrong folder has no view."""
    for name in ("left/left.png", "left/right.png"):
        (tmp_path / "left").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), picture(50))
    good, bad = levels_shown(section(tmp_path, "{view}/{view}.png"))
    assert good == 50
    assert str(bad).startswith("view: ")
    assert "does not tell the view" in str(bad)


def test_a_picture_that_vanished_is_a_part_without_a_picture(tmp_path: Path) -> None:
    """Whatever tidies the folder up takes no verdict away."""
    for level in (10, 20, 30, 40):
        cv2.imwrite(str(tmp_path / f"{level}.png"), picture(level))
    wanted = section(tmp_path)
    with open_source(wanted) as source:
        assert refs_shown(source, 1) == ["10.png"]
        (tmp_path / "30.png").unlink()
        assert refs_shown(source, 2) == ["20.png", "30.png"]
        with pytest.raises(PartError, match=r"30\.png: cannot be read: No such file"):
            source.read(np.zeros(wanted.shape, np.uint8))
        assert refs_shown(source, 1) == ["40.png"]


def test_digits_of_other_kinds_are_letters(tmp_path: Path) -> None:
    """A superscript in a name is no number and no traceback."""
    for name in ("10 cm²", "9 cm²", "²", "٣"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture(10))
    with open_source(section(tmp_path)) as source:
        assert refs_shown(source, 4) == ["9 cm².png", "10 cm².png", "².png", "٣.png"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["1.png", "2.png"], ["3.png", "4.png"]),
        (["1.png", "2.png", "gone.png"], ["3.png", "4.png"]),
        (["1.png", "2.png", "3.png", "4.png"], []),
        (["gone.png"], ["1.png", "2.png", "3.png", "4.png"]),
    ],
    ids=["in the middle", "the last is gone", "behind all", "all are gone"],
)
def test_what_was_shown_before_is_not_shown_again(tmp_path: Path, before: list[str], after: list[str]) -> None:
    """A capture that was started anew goes on behind the last part."""
    for number in (1, 2, 3, 4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(10))
    shown = [EarlierPicture(str(tmp_path / name), 0) for name in before]
    with open_source(section(tmp_path), shown) as source:
        assert refs_shown(source, len(after)) == after
        with pytest.raises(SourceEnded):
            source.wait(10)


def test_a_picture_that_ends_the_process_is_a_part_all_the_same(tmp_path: Path) -> None:
    """The first picture after a restart is not touched before its part is in the ledger."""
    (tmp_path / "1.png").write_bytes(b"")
    os.mkfifo(tmp_path / "2.png")  # no file, so it is passed over
    os.symlink("3.png", tmp_path / "3.png")  # a loop
    with open_source(section(tmp_path)) as source:
        assert refs_shown(source, 1) == ["1.png"]
        cv2.imwrite(str(tmp_path / "1.png"), picture(70))
        out = np.zeros((HEIGHT, WIDTH), np.uint8)
        source.read(out)
    assert np.array_equal(out, picture(70))


def put(path: Path, level: int, age_s: float = 0) -> None:
    """Move a picture of that age in."""
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(cv2.imencode(".png", picture(level))[1].tobytes())
    os.utime(beside, (time.time() - age_s,) * 2)
    beside.rename(path)


def test_pictures_that_appear_are_shown_oldest_first(tmp_path: Path) -> None:
    """Those that are there at the start, then those that come, each once."""
    put(tmp_path / "1.png", 10, age_s=20)
    put(tmp_path / "2.png", 20, age_s=30)
    with open_source(section(tmp_path, watch=True)) as source:
        assert refs_shown(source, 2) == ["2.png", "1.png"]
        assert source.wait(2 * POLL_S) is None
        put(tmp_path / "3.png", 30, age_s=40)
        put(tmp_path / "0.png", 30, age_s=50)
        assert refs_shown(source, 2) == ["0.png", "3.png"]
        (tmp_path / "3.png").unlink()
        put(tmp_path / "2.png", 50)  # written anew
        assert refs_shown(source, 1) == ["2.png"]
        assert source.wait(3 * POLL_S) is None


def test_a_picture_is_shown_when_it_is_complete(tmp_path: Path) -> None:
    """One that is still being written waits, and the others do not wait for it."""
    data = cv2.imencode(".png", picture(60))[1].tobytes()
    put(tmp_path / "2.png", 20)
    with open_source(section(tmp_path, watch=True)) as source, (tmp_path / "1.png").open("wb") as file:
        trigger = None
        for at in range(40):
            file.write(data[at : at + 1])
            file.flush()
            if trigger := source.wait(POLL_S / 5) or trigger:
                assert Path(trigger.source_ref).name == "2.png"
        assert trigger
        file.write(data[40:])
        file.flush()
        assert refs_shown(source, 1) == ["1.png"]
        out = np.zeros((HEIGHT, WIDTH), np.uint8)
        source.read(out)
    assert np.array_equal(out, picture(60))


@pytest.mark.parametrize("count", [3, ROWS])
def test_a_watched_folder_goes_on_behind_what_was_shown(tmp_path: Path, count: int) -> None:
    """After a restart of capture, also where the ledger no longer holds all that was shown."""
    put(tmp_path / "old.png", 10, age_s=99)
    put(tmp_path / "1.png", 10, age_s=50)
    put(tmp_path / "2.png", 10, age_s=20)
    put(tmp_path / "3.png", 10, age_s=10)
    put(tmp_path / "anew.png", 10)
    shown = [EarlierPicture(str(tmp_path / "gone"), time.time_ns())] * count
    shown[-3:] = [
        EarlierPicture(str(tmp_path / name), time.time_ns() - 5 * 10**9)
        for name in ("1.png", "2.png", "anew.png")
    ]
    expected = ["3.png", "anew.png"] if count == ROWS else ["old.png", "3.png", "anew.png"]
    with open_source(section(tmp_path, watch=True), shown) as source:
        assert refs_shown(source, len(expected)) == expected
        assert source.wait(3 * POLL_S) is None


def test_pictures_that_come_late_are_not_late_parts(tmp_path: Path) -> None:
    """Behind a pause parts are due from then on, at the folder's rate."""
    put(tmp_path / "1.png", 10)
    with open_source(section(tmp_path, watch=True, fps=20)) as source:
        assert source.wait(10)
        assert source.wait(10 * POLL_S) is None
        before_ns = time.monotonic_ns()
        put(tmp_path / "2.png", 10)
        put(tmp_path / "3.png", 10)
        first, second = source.wait(10), source.wait(10)
    assert first
    assert second
    assert first.captured_ns > before_ns
    assert second.captured_ns - first.captured_ns == 50_000_000


def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    """A mistyped path is no empty folder."""
    with pytest.raises(
        SourceError, match="nowhere: no such folder to watch: No such file or directory: make it"
    ):
        open_source(section(tmp_path, "nowhere/*.png", watch=True)).__enter__()


def test_a_folder_that_goes_away_is_no_idle_one(tmp_path: Path) -> None:
    """A share that is unmounted stops the line's judging, and has to be told."""
    folder = tmp_path / "share"
    folder.mkdir()
    put(folder / "1.png", 10)
    with open_source(section(folder, watch=True)) as source:
        assert refs_shown(source, 1) == ["1.png"]
        folder.rename(tmp_path / "gone")
        with pytest.raises(SourceError, match="share: no such folder to watch"):
            source.wait(10)


def test_pictures_that_go_away_and_come_back_are_the_same(tmp_path: Path) -> None:
    """As those of a share that was away for a moment, and left an empty folder."""
    (tmp_path / "share").mkdir()
    put(tmp_path / "share/1.png", 10)
    with open_source(section(tmp_path, "share/*.png", watch=True)) as source:
        assert refs_shown(source, 1) == ["1.png"]
        (tmp_path / "share/1.png").rename(tmp_path / "kept.png")
        assert source.wait(3 * POLL_S) is None
        (tmp_path / "kept.png").rename(tmp_path / "share/1.png")
        assert source.wait(3 * POLL_S) is None
        put(tmp_path / "share/2.png", 10)
        assert refs_shown(source, 1) == ["2.png"]
