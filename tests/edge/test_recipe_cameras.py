"""A recipe with several cameras: what may be written, and what is said of what cannot be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import RecipeError
from edge.recipe import MOST_CAMERAS, Folder
from edge.recipe_file import read_recipe

HEAD = 'line = "caps"\n'
MODEL = 'bundle = "bundles/caps"\n'
TOP = """\
[[camera]]
name = "top"
[camera.source]
kind = "folder"
files = "top/*.png"
width = 640
height = 480
"""
SIDE = """\
[[camera]]
name = "side"
at = 1200
window = 40
[camera.source]
kind = "synthetic"
width = 320
height = 200
"""
SEAL = '[[judge]]\nname = "seal"\nbundle = "bundles/seal"\ncamera = "side"\n'
EJECTOR = "[ejector]\nat = 2000\nlead_ms = 20\n"
CAP = '[[judge]]\nname = "cap"\nbundle = "bundles/cap"\n'


def read(folder: Path, text: str) -> str:
    """What is said of a recipe that cannot be run."""
    path = folder / "caps.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as error:
        read_recipe(path)
    return str(error.value)


def test_each_camera_is_as_if_it_stood_alone(tmp_path: Path) -> None:
    """Its source has its name, paths are meant from the recipe, and it has the judges of its frames."""
    path = tmp_path / "caps.toml"
    path.write_text(HEAD + TOP + SIDE + SEAL + CAP + EJECTOR)
    recipe, _ = read_recipe(path)
    top, side = recipe.cameras
    assert (top.name, top.at, top.window) == ("top", 0, None)
    assert (side.name, side.at, side.window) == ("side", 1200, 40)
    assert [camera.source.camera for camera in recipe.cameras] == ["top", "side"]
    assert isinstance(top.source, Folder)
    assert top.source.files == str(tmp_path / "top/*.png")
    assert recipe.source == top.source
    assert [judge.name for judge in recipe.seen_by(top).judges] == ["cap"]
    assert [judge.name for judge in recipe.seen_by(side).judges] == ["seal", "cap"]
    assert recipe.seen_by(side).source == side.source


def test_a_single_camera_has_the_short_form(tmp_path: Path) -> None:
    """[source] is a line with one camera at the beginning of the belt."""
    path = tmp_path / "caps.toml"
    path.write_text(HEAD + MODEL + TOP.replace('[[camera]]\nname = "top"\n[camera.source]', "[source]"))
    recipe, _ = read_recipe(path)
    (camera,) = recipe.cameras
    assert (camera.name, camera.at, camera.source) == ("camera", 0, recipe.source)


WRONG = {
    "both forms": (
        HEAD + MODEL + "[source]\nkind = 'synthetic'\nwidth = 64\nheight = 64\n" + TOP,
        "expected either [source], for one camera, or [[camera]] for each of several, found both",
    ),
    "a camera behind the deadline": (
        HEAD + MODEL + TOP + SIDE,
        "[timing] deadline_ms: a part has to be decided 190 ms after the first camera, but all is known only",
    ),
    "an ejector before the camera": (
        HEAD + MODEL + TOP + SIDE + "[ejector]\nat = 1250\n",
        "[ejector] at: a part has to be decided 1240 ms after the first camera, but all is known only 1290 ms",
    ),
    "a gap up to the ejector": (
        HEAD + MODEL + TOP + SIDE + EJECTOR + "min_gap = 2000\n",
        "[ejector] min_gap: 2000 is not less than at, 2000: make it smaller",
    ),
    "no window": (
        HEAD + MODEL + TOP + SIDE.replace("window = 40\n", "") + EJECTOR,
        '[[camera]] "side" window: say how far from `at` a part may be seen',
    ),
    "a first camera down the belt": (
        HEAD + MODEL + SIDE + EJECTOR,
        '[[camera]] "side" at: the first camera is at 0: count from there',
    ),
    "no encoder": (
        HEAD + MODEL + TOP + SIDE + EJECTOR + '[belt]\nby = "encoder"\n',
        "[belt] by: a belt by encoder names no encoder: write [belt.encoder]",
    ),
    "an encoder that nobody asks": (
        HEAD + MODEL + TOP + SIDE + EJECTOR + '[belt.encoder]\nkind = "simulated"\n',
        "[belt] by: a belt by time needs none: take it out",
    ),
    "no ejector by encoder": (
        HEAD + MODEL + TOP + SIDE + '[belt]\nby = "encoder"\n[belt.encoder]\nkind = "simulated"\n',
        "[ejector]: with an encoder and several cameras, write where the ejector is",
    ),
    "a simulated belt that never gets ahead": (
        HEAD
        + MODEL
        + TOP
        + EJECTOR
        + '[belt]\nby = "encoder"\n[belt.encoder]\nkind = "simulated"\nstop_every_s = 1\nback_s = 1\n',
        "[belt.encoder] back_s: the belt would never get ahead",
    ),
    "neither form": (HEAD + MODEL, "expected either [source], for one camera, or [[camera]]"),
    "two of a name": (HEAD + MODEL + TOP + TOP, "[[camera]] name: 2 are called 'top'"),
    "another name in the source": (
        HEAD + MODEL + TOP + 'camera = "front"\n',
        """[[camera]] "top" source.camera: is 'front': delete the key""",
    ),
    "a judge of no camera": (
        HEAD + TOP + CAP + SEAL,
        """[[judge]] "seal" camera: is 'side'; cameras are top""",
    ),
    "a camera of no judge": (
        HEAD + TOP + SIDE + SEAL,
        '[[camera]] "top": no [[judge]] inspects its frames: write one with camera = "top"',
    ),
    "a crop outside of one camera's frame": (
        HEAD + MODEL + TOP + SIDE + "[preprocess]\ncrop = [0, 0, 640, 480]\n",
        'does not lie in the 320x200 frame of [[camera]] "side" source',
    ),
    "a source that contradicts itself": (
        HEAD + MODEL + TOP + "watch = true\nrepeat = true\n",
        '[[camera]] "top" source repeat: a folder that is watched has no last picture',
    ),
    "too many": (
        HEAD + MODEL + "".join(TOP.replace('"top"', f'"c{n}"') for n in range(MOST_CAMERAS + 1)),
        f"[[camera]]: {MOST_CAMERAS + 1} cameras: a line has room for {MOST_CAMERAS}",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_run_of_several_cameras_is_said_with_key(tmp_path: Path, case: str) -> None:
    """Each mistake is one error that names the file, the camera and a way out."""
    text, said = WRONG[case]
    found = read(tmp_path, text)
    assert found.startswith(f"{tmp_path}/caps.toml: ")
    assert said in found
