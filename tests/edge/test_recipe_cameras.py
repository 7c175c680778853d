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
    path.write_text(HEAD + TOP + SIDE + SEAL + CAP)
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
