"""What a line engineer may write, and what she is told when it cannot be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import RecipeError
from edge.recipe import Folder, Synthetic, Video, read_recipe

GOOD = """\
line = "pcb"
bundle = "bundles/pcb"
masters = "masters/{view}.png"

[source]
kind = "folder"
files = "frames/*.{view}.png"
width = 640
height = 480
"""


def recipe_of(folder: Path, text: str) -> Path:
    path = folder / "pcb.toml"
    path.write_text(text)
    return path


def test_paths_are_meant_from_the_recipes_folder(tmp_path: Path) -> None:
    """A recipe can be moved with what lies beside it, and be run from anywhere."""
    recipe, _ = read_recipe(recipe_of(tmp_path, GOOD))
    assert recipe.bundle == str(tmp_path / "bundles/pcb")
    assert recipe.masters == str(tmp_path / "masters/{view}.png")
    assert isinstance(recipe.source, Folder)
    assert recipe.source.files == str(tmp_path / "frames/*.{view}.png")


def test_the_digest_is_of_the_file(tmp_path: Path) -> None:
    """Any change of the file, a comment too, is another recipe in the verdicts."""
    _, digest = read_recipe(recipe_of(tmp_path, GOOD))
    _, again = read_recipe(recipe_of(tmp_path, GOOD))
    _, other = read_recipe(recipe_of(tmp_path, GOOD + "# checked\n"))
    assert digest == again != other


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ('kind = "synthetic"', Synthetic),
        ('kind = "video"\naddress = "rtsp://127.0.0.1/a"', Video),
        ('kind = "folder"\nfiles = "*.png"', Folder),
    ],
)
def test_each_kind_of_source_can_be_asked_for(tmp_path: Path, source: str, kind: type) -> None:
    """The three sources are chosen by `kind` and say what shape their frames have."""
    text = f'line = "a"\nbundle = "b"\n[source]\n{source}\nwidth = 20\nheight = 10\ncolor = "bgr"'
    recipe, _ = read_recipe(recipe_of(tmp_path, text))
    assert isinstance(recipe.source, kind)
    assert (recipe.source.shape, recipe.source.nbytes) == ((10, 20, 3), 600)


WRONG = {
    "an unknown section": ("[engin]\nlanes = 2", "unknown key 'engin' in the recipe: did you mean 'engine'?"),
    "an unknown key": ("[timing]\nslot = 3", "unknown key 'slot' in [timing]: did you mean 'slots'?"),
    "seconds for milliseconds": ("[timing]\ndeadline_s = 0.2", "did you mean 'deadline_ms'?"),
    "milliseconds that are seconds": (
        "[timing]\ndeadline_ms = 0.2",
        "timing.deadline_ms: expected `float` >= 5",
    ),
    "text for a number": ('[timing]\nslots = "3"', "timing.slots: expected `int`, got `str`"),
    "an unknown key two deep": ("[preprocess.register]\nmax_shift = 3", "did you mean 'max_shift_px'?"),
    "no time left": ("[timing]\ndeadline_ms = 20\nguard_ms = 20", "timing.guard_ms 20 leaves nothing"),
    "a crop beside the frame": ("[preprocess]\ncrop = [600, 0, 50, 50]", "does not lie in the 640x480 frame"),
    "an unknown reason": ('[rule.unknown]\ntired = "accept"', "rule.unknown: 'tired' is no reason"),
    "a reason that is none for unknown": ('[rule.unknown]\ndefect = "accept"', "'defect' is no reason"),
    "a threshold in per cent": ("[rule.thresholds]\nopen = 50", "rule.thresholds"),
    "an open port": (
        '[publish]\nendpoints = ["tcp://0.0.0.0:5571"]',
        "publish.endpoints: 'tcp://0.0.0.0:5571'",
    ),
    "a name with a space": ('line = "a b"', "line: expected `str` matching"),
    "no TOML": ("[timing", "not a TOML file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_run_is_said_with_file_and_key(tmp_path: Path, case: str) -> None:
    """Each mistake is one error that names the file, the key and a way out."""
    added, said = WRONG[case]
    text = GOOD.replace('line = "pcb"', added) if added.startswith("line") else f"{GOOD}{added}\n"
    with pytest.raises(RecipeError) as error:
        read_recipe(recipe_of(tmp_path, text))
    assert str(error.value).startswith(f"{tmp_path}/pcb.toml: ")
    assert said in str(error.value)


def test_a_key_that_is_needed_is_named(tmp_path: Path) -> None:
    """A recipe that lacks its bundle is told so."""
    with pytest.raises(RecipeError, match="missing required field `bundle`"):
        read_recipe(recipe_of(tmp_path, GOOD.replace('bundle = "bundles/pcb"', "")))


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A wrong path is an error about that path."""
    with pytest.raises(RecipeError, match=r"no\.toml: cannot read the recipe: No such file"):
        read_recipe(tmp_path / "no.toml")
