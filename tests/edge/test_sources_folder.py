"""A folder plays like a camera: in order, at its pace, and a picture that is not one is a part all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge import recipe
from edge.errors import PartError, SourceEnded, SourceError
from edge.sources import open_source

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
