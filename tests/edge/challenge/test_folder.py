"""Which recipe the line of a test with pictures runs, which pictures it gets, and how they are damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.challenge.folder import WINDOW_MS, cameras_of, recipe_of
from edge.challenge.orders import PULLED, Step
from edge.challenge.pictures import Pictures, damaged
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
    made = recipe_of(two, cameras_of(two, "side"), tmp_path)
    assert [judge.name for judge in made.judges] == ["seal", "both"]
    assert (made.source.width, made.source.height, made.source.color) == (80, 60, "bgr")
    assert len(made.cameras) == 1
    assert made.line != two.line
    assert (made.journal, made.challenge, made.ejector) == (None, None, None)
    assert all(endpoint.startswith(f"ipc://{tmp_path}") for endpoint in made.publish.endpoints)
    assert (made.rule, made.preprocess, made.fusion) == (two.rule, two.preprocess, two.fusion)


def test_all_cameras_are_tested_at_one_place(two: Recipe, tmp_path: Path) -> None:
    """Whatever the recipe says about the belt, looks of a part come at one time. Each judge has its camera."""
    made = recipe_of(two, cameras_of(two, ""), tmp_path)
    assert [(camera.name, camera.at, camera.window) for camera in made.cameras] == [
        ("top", 0, WINDOW_MS),
        ("side", 0, WINDOW_MS),
    ]
    assert [camera.source.shape for camera in made.cameras] == [(48, 64), (60, 80, 3)]
    assert [(judge.name, judge.camera) for judge in made.judges] == [
        ("print", "top"),
        ("seal", "side"),
        ("both", ""),
    ]
    assert (made.belt.by, made.ejector, made.source) == ("time", None, made.cameras[0].source)


def test_a_camera_that_there_is_not_is_told(two: Recipe) -> None:
    """The error names those that there are."""
    with pytest.raises(LineError, match="expected one of top, side, found 'bottom'"):
        cameras_of(two, "bottom")


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
    pictures = Pictures(str(tmp_path / "good"), str(tmp_path / "bad"), cameras_of(two, "top"), into)
    shown = [pictures.present(step, None) for step in (GOOD, BAD, GOOD, GOOD)]
    names = ["a/0001-1.a.png", "a/0002-1.a.png", "b-c/0003-2.b-c.png", "a/0004-1.a.png"]
    assert shown == [[str(into / "top" / name)] for name in names]
    assert sorted(into.rglob("*.png")) == sorted(into / "top" / name for name in names)


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Folders `good` and `bad` with the pictures of parts as two cameras see them; and `parts` for the line."""
    for kind, level in (("good", 90), ("bad", 200)):
        for name in ("1.a.png", "2.b.png", "10.a.png"):
            picture(tmp_path / kind / "top" / name, level)
            picture(tmp_path / kind / "side" / name, level + 1)
    (tmp_path / "parts").mkdir()
    return tmp_path


def test_a_part_is_shown_to_all_cameras(two: Recipe, known: Path) -> None:
    """By its pictures with the same name; a camera whose names have no view has its own name as view."""
    into = known / "parts"
    pictures = Pictures(str(known / "good"), str(known / "bad"), two.cameras, into)
    shown = [pictures.present(step, None) for step in (GOOD, BAD, GOOD, GOOD)]
    assert shown == [
        [str(into / f"top/{view}/{name}"), str(into / f"side/side/{name}")]
        for view, name in (
            ("a", "0001-1.a.png"), ("a", "0002-1.a.png"), ("b", "0003-2.b.png"), ("a", "0004-10.a.png")
        )
    ]  # fmt: skip
    assert [int(cv2.imread(path, cv2.IMREAD_GRAYSCALE)[0, 0]) for path in shown[1]] == [200, 201]


@pytest.mark.parametrize(("fault", "left"), [(PULLED, ["top"]), ("no picture", ["top", "side"])])
def test_a_fault_concerns_its_camera_alone(two: Recipe, known: Path, fault: str, left: list[str]) -> None:
    """The other cameras see the part as it is."""
    into = known / "parts"
    pictures = Pictures(str(known / "good"), str(known / "bad"), two.cameras, into)
    step = Step(order="fail-safe", part="good", expected="reject", fault=fault, camera="side")
    shown = [Path(name) for name in pictures.present(step, None)]
    assert [path.relative_to(into).parts[0] for path in shown] == left
    assert sorted(into.rglob("*.png")) == sorted(shown)
    whole = (known / "good/top/1.a.png").read_bytes()
    assert [path.read_bytes() for path in shown] == [whole, b""][: len(left)]


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("bad/side/2.b.png", r"--bad .*/bad: side/2\.b\.png is missing: each camera \(top, side\)"),
        ("good/top/1.a.png", r"--good .*/good: top/1\.a\.png is missing"),
        ("good/side", r"--good .*/good: has no folder side: make one for each camera \(top, side\)"),
    ],
)
def test_a_picture_that_one_camera_lacks_is_named(two: Recipe, known: Path, gone: str, told: str) -> None:
    """Before the test starts."""
    path = known / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(LineError, match=told):
        Pictures(str(known / "good"), str(known / "bad"), two.cameras, known / "parts")


def test_a_folder_without_pictures_is_told(two: Recipe, tmp_path: Path) -> None:
    """With the option, and with the names that were looked for."""
    picture(tmp_path / "good/1.a.png", 1)
    (tmp_path / "bad").mkdir()
    with pytest.raises(LineError, match=r"--bad .*: no picture has a name like .*/bad/\*\.\{view\}\.png"):
        Pictures(str(tmp_path / "good"), str(tmp_path / "bad"), cameras_of(two, "top"), tmp_path)


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
