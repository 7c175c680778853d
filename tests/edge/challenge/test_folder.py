"""Which recipe the line of a test with pictures runs, which pictures it gets, and how they are damaged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.challenge.folder import Pictures, camera_of, damaged, recipe_of
from edge.challenge.orders import Step
from edge.errors import LineError
from edge.pictures import decode
from edge.recipe import Recipe
from edge.recipe_file import read_recipe

TWO = """
line = "caps"
[[judge]]
name = "print"
camera = "top"
bundle = "print"
[[judge]]
name = "seal"
camera = "side"
bundle = "seal"
[[judge]]
name = "both"
bundle = "both"
[[camera]]
name = "top"
at = 0
source = {kind = "folder", files = "top/*.{view}.png", width = 64, height = 48}
[[camera]]
name = "side"
at = 500
window = 20
source = {kind = "folder", files = "side/*.png", width = 80, height = 60, color = "bgr"}
[ejector]
at = 2000
[journal]
[challenge]
every_h = 8
"""
GOOD = Step(order="alternating", part="good", expected="accept")
BAD = Step(order="alternating", part="bad", expected="reject")


@pytest.fixture
def two(tmp_path: Path) -> Recipe:
    (tmp_path / "recipe.toml").write_text(TWO)
    return read_recipe(tmp_path / "recipe.toml")[0]


def test_the_judges_of_one_camera_are_tested_as_the_recipe_has_them(two: Recipe, tmp_path: Path) -> None:
    """On a line of its own: without belt, ejector, journal, further cameras, ports or a test of its own."""
    made = recipe_of(two, camera_of(two, "side"), tmp_path)
    assert [judge.name for judge in made.judges] == ["seal", "both"]
    assert (made.source.width, made.source.height, made.source.color) == (80, 60, "bgr")
    assert len(made.cameras) == 1
    assert made.line != two.line
    assert (made.journal, made.challenge, made.ejector) == (None, None, None)
    assert all(endpoint.startswith(f"ipc://{tmp_path}") for endpoint in made.publish.endpoints)
    assert (made.rule, made.preprocess, made.fusion) == (two.rule, two.preprocess, two.fusion)


@pytest.mark.parametrize("name", ["", "bottom"])
def test_of_several_cameras_one_has_to_be_named(two: Recipe, name: str) -> None:
    """The error names them all."""
    with pytest.raises(LineError, match="expected one of top, side"):
        camera_of(two, name)


def picture(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((48, 64), level, np.uint8))
    return path


def test_pictures_keep_their_view_and_come_in_turn(two: Recipe, tmp_path: Path) -> None:
    """The view is where the recipe has it in its names; after the last picture comes the first again."""
    for number, view in ((1, "a"), (2, "b-c")):
        picture(tmp_path / f"good/{number}.{view}.png", number)
    picture(tmp_path / "bad/1.a.png", 200)
    into = tmp_path / "parts"
    into.mkdir()
    source = camera_of(two, "top").source
    pictures = Pictures(str(tmp_path / "good"), str(tmp_path / "bad"), source, into)
    for step in (GOOD, BAD, GOOD, GOOD):
        pictures.present(step, None)
    found = sorted(path.relative_to(into) for path in into.rglob("*.png"))
    assert [str(path) for path in sorted(found, key=lambda path: path.name)] == [
        "a/0001-1.a.png", "a/0002-1.a.png", "b-c/0003-2.b-c.png", "a/0004-1.a.png"
    ]  # fmt: skip


def test_a_folder_without_pictures_is_told(two: Recipe, tmp_path: Path) -> None:
    """With the option, and with the names that were looked for."""
    picture(tmp_path / "good/1.a.png", 1)
    (tmp_path / "bad").mkdir()
    with pytest.raises(LineError, match=r"--bad .*: no picture has a name like .*/bad/\*\.\{view\}\.png"):
        Pictures(str(tmp_path / "good"), str(tmp_path / "bad"), camera_of(two, "top").source, tmp_path)


def test_damage_is_what_its_name_says(tmp_path: Path) -> None:
    """The picture itself stays as it is."""
    path = picture(tmp_path / "1.png", 90)
    data = path.read_bytes()
    black = decode(damaged(path, "covered lens"), "black")
    assert black.shape == (48, 64)
    assert not black.any()
    assert damaged(path, "no picture") == b""
    assert data.startswith(damaged(path, "damaged file"))
    assert 0 < len(damaged(path, "damaged file")) < len(data)
    assert damaged(path, "") == data == path.read_bytes()
