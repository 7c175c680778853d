"""What a line engineer may write, and what she is told when it cannot be run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import RecipeError
from edge.recipe import Folder, Synthetic, Video
from edge.recipe_file import read_recipe

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


JUDGES = """
[[judge]]
name = "defects"
bundle = "bundles/pcb"
masters = "masters/{view}.png"
thresholds = { open = 0.6 }

[[judge]]
name = "product"
bundle = "bundles/which"
drawings = "drawings/*.png"
crop = [100, 50, 200, 200]
"""
SEVERAL = GOOD.replace('bundle = "bundles/pcb"\nmasters = "masters/{view}.png"\n', "") + JUDGES


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


def test_a_folder_that_is_watched_has_no_end_to_begin_again_from(tmp_path: Path) -> None:
    """One of the two is what was meant, and a person has to say which."""
    source = "kind = 'folder'\nfiles = '*.png'\nwidth = 64\nheight = 64\nwatch = true\nrepeat = true"
    with pytest.raises(RecipeError, match=r"\[source\] repeat: a folder that is watched has no last picture"):
        read_recipe(recipe_of(tmp_path, f'line = "a"\nbundle = "b"\n[source]\n{source}\n'))


@pytest.mark.parametrize(
    ("address", "is_right"),
    [
        ("rtsp://camera:99999/a", False),
        ("http://user:99999@camera:65536", False),
        ("rtsp://user:99999@camera:554/a", True),
        ("rtsp://camera/a:99999", True),
        ("rtsp://[::1]:554/", True),
    ],
)
def test_a_port_that_no_camera_has_is_told(tmp_path: Path, address: str, is_right: bool) -> None:
    """The system would take another one, without a word."""
    source = f"kind = 'video'\naddress = '{address}'\nwidth = 64\nheight = 64"
    path = recipe_of(tmp_path, f'line = "a"\nbundle = "b"\n[source]\n{source}\n')
    if is_right:
        read_recipe(path)
        return
    with pytest.raises(RecipeError, match=r"\[source\] address: the port \d+ is above 65535"):
        read_recipe(path)


def test_pictures_are_kept_beside_the_recipe_or_where_it_says(tmp_path: Path) -> None:
    """The recorder's folder is meant from the recipe's folder; without [recorder], nothing is kept."""
    assert read_recipe(recipe_of(tmp_path, GOOD))[0].recorder is None
    for folder, expected in (("kept", tmp_path / "kept"), ("/var/kept", Path("/var/kept"))):
        recipe, _ = read_recipe(recipe_of(tmp_path, f'{GOOD}[recorder]\nfolder = "{folder}"\n'))
        assert recipe.recorder
        assert recipe.recorder.folder == str(expected)


WRONG = {
    "an unknown section": ("[engin]\nlanes = 2", "engin: unknown section: did you mean 'engine'?"),
    "an unknown key": ("[timing]\nslot = 3", "[timing] slot: unknown key: did you mean 'slots'?"),
    "seconds for milliseconds": ("[timing]\ndeadline_s = 0.2", "did you mean 'deadline_ms'?"),
    "milliseconds that are seconds": (
        "[timing]\ndeadline_ms = 0.2",
        "[timing] deadline_ms: expected a number from 5 to 60000, found 0.2",
    ),
    "an unknown key two deep": ("[preprocess.register]\nmax_shift = 3", "did you mean 'max_shift_px'?"),
    "an unknown reason": ('[rule.unknown]\ntired = "accept"', "[rule.unknown] tired: is no reason"),
    "a hold that passes": ('[rule.unknown]\nhold = "accept"', "[rule.unknown] hold: a line is held so that"),
    "a reason that is none for unknown": (
        '[rule.unknown]\ndefect = "accept"',
        "[rule.unknown] defect: is no reason",
    ),
    "no folder for pictures": ('[recorder]\nfolder = ""', "[recorder] folder: expected a folder for pictures"),
    "a black box that ends before its event": (
        '[recorder]\nfolder = "a"\n[recorder.box]\nparts = 8',
        "[recorder.box] after: 8 leaves no room for the event in 8 parts",
    ),
    "an event that is none": (
        '[recorder]\nfolder = "a"\n[recorder.box]\non = ["pass"]',
        "[recorder.box] on",
    ),
    "an open port": (
        '[publish]\nendpoints = ["tcp://0.0.0.0:5571"]',
        "[publish] endpoints: 'tcp://0.0.0.0:5571' can be reached from other machines",
    ),
    "an open port for replays": (
        '[publish]\nreplay = "tcp://*:5572"',
        "[publish] replay: 'tcp://*:5572' can be reached from other machines",
    ),
    "a replay endpoint that is none": (
        '[publish]\nreplay = "5572"',
        "[publish] replay: '5572' is neither ipc://PATH nor tcp://HOST:PORT",
    ),
    "one endpoint for both": (
        '[publish]\nreplay = "tcp://127.0.0.1:5571"',
        "[publish] replay: 'tcp://127.0.0.1:5571' is one of the endpoints",
    ),
    "confirmations that go nowhere": (
        '[publish]\nconfirm = ["plc-1"]',
        "[publish] confirm: subscribers confirm to the replay endpoint",
    ),
    "a subscriber that confirms twice": (
        '[publish]\nreplay = "ipc:///r"\nconfirm = ["plc-1", "plc-1"]',
        "[publish] confirm: 'plc-1' is written 2 times",
    ),
}


def test_an_open_port_needs_keys(tmp_path: Path) -> None:
    """With a folder of keys, other machines may connect."""
    opened = '[publish]\nendpoints = ["tcp://*:5571"]\nreplay = "tcp://*:5572"\nkeys = "keys"\n'
    recipe, _ = read_recipe(recipe_of(tmp_path, f"{GOOD}{opened}"))
    assert recipe.publish.keys == str(tmp_path / "keys")


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_run_is_said_with_file_and_key(tmp_path: Path, case: str) -> None:
    """Each mistake is one error that names the file, the key and a way out."""
    added, said = WRONG[case]
    with pytest.raises(RecipeError) as error:
        read_recipe(recipe_of(tmp_path, f"{GOOD}{added}\n"))
    assert str(error.value).startswith(f"{tmp_path}/pcb.toml: ")
    assert said in str(error.value)


def test_a_recipe_without_a_model_is_told_both_ways_to_name_one(tmp_path: Path) -> None:
    """A recipe that lacks its bundle, or names it twice over, is told what it may say."""
    for text, found in ((GOOD.replace('bundle = "bundles/pcb"', ""), "neither"), (GOOD + JUDGES, "both")):
        with pytest.raises(RecipeError, match=rf"either `bundle`.* or \[\[judge\]\].*found {found}"):
            read_recipe(recipe_of(tmp_path, text))


def test_several_judges_are_read_in_their_order(tmp_path: Path) -> None:
    """Each with its bundle, what it compares with, and its own crop and thresholds; paths made absolute."""
    recipe, _ = read_recipe(recipe_of(tmp_path, SEVERAL))
    defects, product = recipe.judges
    assert (defects.name, product.name) == ("defects", "product")
    assert defects.bundle == str(tmp_path / "bundles/pcb")
    assert defects.masters == str(tmp_path / "masters/{view}.png")
    assert defects.thresholds == {"open": 0.6}
    assert (defects.crop, product.crop) == (None, (100, 50, 200, 200))
    assert (product.drawings, product.masters) == (str(tmp_path / "drawings/*.png"), "")
    assert recipe.fusion is None


def test_a_recipe_with_one_bundle_has_one_judge(tmp_path: Path) -> None:
    """What the recipe says of its one model is said of that judge."""
    text = f'drawings = "d/*.png"\nignore = "mask.png"\n{GOOD}[rule.thresholds]\nopen = 0.7'
    recipe, _ = read_recipe(recipe_of(tmp_path, text))
    (judge,) = recipe.judges
    assert (judge.bundle, judge.masters) == (recipe.bundle, recipe.masters)
    assert judge.drawings == str(tmp_path / "d/*.png")
    assert judge.ignore == str(tmp_path / "mask.png")
    assert judge.thresholds == {"open": 0.7}


def test_a_fusion_is_bonferronis_unless_told_otherwise(tmp_path: Path) -> None:
    """Which holds however the judges depend on each other."""
    recipe, _ = read_recipe(recipe_of(tmp_path, SEVERAL + "[fusion]\nfalse_reject = 0.01"))
    assert recipe.fusion is not None
    assert (recipe.fusion.how, recipe.fusion.false_reject) == ("bonferroni", 0.01)


WRONG_OF_SEVERAL = {
    "an unknown key of a judge": (
        "masters = ",
        "master = ",
        "[[judge]] \"defects\" master: unknown key: did you mean 'masters'?",
    ),
    "two of one name": ('"product"', '"defects"', "[[judge]] name: 2 are called 'defects'"),
    "a crop beside the frame": (
        "[100, 50,",
        "[500, 50,",
        '[[judge]] "product" crop: [500, 50, 200, 200] (x, y, width',
    ),
    "masters for all": (
        "[source]",
        'masters = "m/{view}.png"\n[source]',
        "masters, drawings, ignore, tiles and thresholds belong into each",
    ),
    "drawings for all": (
        "[source]",
        'drawings = "d/*.png"\n[source]',
        "masters, drawings, ignore, tiles and thresholds belong into each",
    ),
    "a mask for all": (
        "[source]",
        'ignore = "mask.png"\n[source]',
        "masters, drawings, ignore, tiles and thresholds belong into each",
    ),
    "thresholds for all": (
        "[source]",
        "[rule.thresholds]\nopen = 0.5\n[source]",
        "masters, drawings, ignore, tiles and thresholds belong into each",
    ),
    "an unknown key of a fusion": (
        "[source]",
        "[fusion]\nfalse_rejects = 0.1\n[source]",
        "did you mean 'false_reject'?",
    ),
    "a rate in per cent": (
        "[source]",
        "[fusion]\nfalse_reject = 1\n[source]",
        "[fusion] false_reject: expected a number, above 0 and below 1, found 1",
    ),
}


@pytest.mark.parametrize("case", WRONG_OF_SEVERAL)
def test_what_cannot_be_run_of_several_judges_is_said_with_file_and_key(tmp_path: Path, case: str) -> None:
    """Each mistake in [[judge]] and [fusion] is one error that names the file, the key and a way out."""
    old, new, expected = WRONG_OF_SEVERAL[case]
    assert old in SEVERAL
    with pytest.raises(RecipeError) as error:
        read_recipe(recipe_of(tmp_path, SEVERAL.replace(old, new)))
    assert str(error.value).startswith(f"{tmp_path}/pcb.toml: ")
    assert expected in str(error.value)


def test_more_judges_than_a_verdict_has_room_for_are_refused(tmp_path: Path) -> None:
    """A verdict names each of them, and has to fit its record."""
    judges = "".join(f'[[judge]]\nname = "j{i}"\nbundle = "b"\n' for i in range(17))
    with pytest.raises(RecipeError, match="17 judges: a verdict has room for 16"):
        read_recipe(recipe_of(tmp_path, SEVERAL.replace(JUDGES, judges)))


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A wrong path is an error about that path."""
    with pytest.raises(RecipeError, match=r"no\.toml: cannot read the recipe: No such file"):
        read_recipe(tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("\n".join(f"k{i} = 1" for i in range(1_000_000)), "longer than 262144 bytes", id="keys"),
        pytest.param("#" * 100_000_000, "longer than 262144 bytes", id="100 MB"),
        pytest.param("a." * 100_000 + "b = 1", "line 1: 200005 bytes are too long", id="dots"),
        pytest.param("a = [\n" + "[\n" * 100_000, "nested too deeply", id="brackets"),
        pytest.param("\n".join(f"k{i:x} = 1" for i in range(20_000)), "200 mistakes", id="unknown keys"),
        pytest.param("[[judge]]\n" * 20_000, "200 mistakes", id="sections"),
    ],
)
def test_a_recipe_that_only_costs_time_and_memory_is_refused_quickly(
    tmp_path: Path, text: str, said: str
) -> None:
    """Less memory than 100 MB and a small number of seconds, in a process that may not take more."""
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from edge.errors import RecipeError\n"
        "from edge.recipe_file import read_recipe\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000,) * 2)\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "try: read_recipe(Path(sys.argv[1]))\n"
        "except RecipeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert len(done.stdout) < 10_000
