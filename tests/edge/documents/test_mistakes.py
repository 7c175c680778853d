"""Every mistake that a recipe can have is told in the words of who writes recipes, all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from mistaken import GOOD, said_of

CASES = {
    "a colour that is none": (
        GOOD + 'color = "rgb"\n',
        '[source] color: expected "bayer-bggr", "bayer-gbrg", "bayer-grbg", "bayer-rggb", "bgr" or "gray", '
        "found the text 'rgb'",
    ),
    "a number in quotes": (
        GOOD.replace("640", "'640'"),
        "[source] width: expected a whole number from 8 to 16384, found the text '640': take the quotes away",
    ),
    "a number of a choice in quotes": (
        GOOD + '[belt.encoder]\nkind = "serial"\ndevice = "/dev/ttyACM0"\nbits = "16"\n',
        "[belt.encoder] bits: expected 16, 32 or 64, found the text '16': take the quotes away",
    ),
    "a text without quotes": (
        GOOD.replace('"pcb"', "7", 1),
        "line: expected a name of letters, digits, - and _, starting with a letter or digit, at most 31, "
        "found 7: put it into quotes",
    ),
    "true in quotes": (
        GOOD + 'repeat = "true"\n',
        "[source] repeat: expected true or false, found the text 'true': take the quotes away",
    ),
    "a port that is none": (
        GOOD + "[metrics]\nport = 99999\n",
        "[metrics] port: expected a whole number from 0 to 65535, found 99999",
    ),
    "half a thread": (
        GOOD + "[engine]\nthreads = 1.5\n",
        "[engine] threads: expected a whole number from 0 to 256, found 1.5",
    ),
    "a name with a line's end": (
        GOOD.replace('"pcb"', '"pcb\\n"', 1),
        "line: expected a name of letters, digits, - and _, starting with a letter or digit, at most 31, "
        "found the text 'pcb\\n'",
    ),
    "a crop of three": (
        GOOD + "[preprocess]\ncrop = [0, 0, 64]\n",
        "[preprocess] crop: expected a list of 4 whole numbers: x, y, width and height in pixels, "
        "found the list [0, 0, 64]",
    ),
    "a crop with a text": (
        GOOD + '[preprocess]\ncrop = [0, 0, 64, "64"]\n',
        "[preprocess] crop, entry 4: expected a whole number, found the text '64': take the quotes away",
    ),
    "one endpoint without brackets": (
        GOOD + '[publish]\nendpoints = "tcp://127.0.0.1:5571"\n',
        "[publish] endpoints: expected a list of texts, found the text 'tcp://127.0.0.1:5571': put it into "
        "square brackets",
    ),
    "a date": (
        GOOD + "[timing]\nslots = 2026-11-20\n",
        "[timing] slots: expected a whole number from 3 to 1024, found 2026-11-20",
    ),
    "a list where a section is expected": (
        GOOD + "[[timing]]\nslots = 3\n",
        "timing: expected a section, found a list of sections: write its name in single brackets",
    ),
    "one judge in single brackets": (
        GOOD.replace('bundle = "bundles/pcb"\n', "") + '[judge]\nname = "a"\nbundle = "b"\n',
        "judge: expected a list of sections, found a section: write its name in double brackets",
    ),
    "a source that is a text": (
        'line = "pcb"\nbundle = "b"\nsource = "folder"\n',
        "source: expected a section, found the text 'folder'",
    ),
    "a kind of source that is none": (
        GOOD.replace('"folder"', '"foldr"'),
        '[source] kind: expected "synthetic", "folder", "video" or "belt", found the text \'foldr\'',
    ),
    "no kind of source": (
        GOOD.replace('kind = "folder"\n', ""),
        '[source] kind is missing: write "synthetic", "folder", "video" or "belt"',
    ),
    "a key of another kind of source": (
        GOOD.replace("files", "address"),
        '2 mistakes:\n  [source] address: unknown key: it is a key of kind = "video"; with kind = "folder" '
        "known here are camera, width, height, color, files, fps, repeat, watch\n"
        "  [source] files is missing: write a path with *, ** and ?, in which {view} may stand for the part "
        "that is the view",
    ),
    "a key of two other kinds": (
        GOOD.replace('"folder"', '"video"')
        .replace("files =", "fps = 5 #")
        .replace("height", 'address = ""\nheight'),
        '[source] fps: unknown key: it is a key of kind = "synthetic" and kind = "folder"; with kind = "video" '
        "known here are camera, width, height, color, address, backend, timeout_ms, paced, "
        "counter, newest, frozen_after",
    ),
    "a key of the recipe below a section": (
        GOOD + 'masters = "m/{view}.png"\n',
        "[source] masters: unknown key: it belongs to [[judge]] masters or the top, above the first section; "
        "known here are camera, width, height, color, files, fps, repeat, watch",
    ),
    "a key of another section": (
        GOOD + "[timing]\nlanes = 2\n",
        "[timing] lanes: unknown key: it belongs to [engine] lanes; known here are deadline_ms, "
        "guard_ms, slots",
    ),
    "a typing error in a key that is needed": (
        GOOD.replace("width", "widht"),
        "[source] widht: unknown key: did you mean 'width'?",
    ),
    "a judge without a name": (
        GOOD.replace('bundle = "bundles/pcb"\n', "")
        + '[[judge]]\nname = "a"\nbundle = "b"\n[[judge]]\nbundle = "b"\n',
        "[[judge]] number 2 name is missing: write a name of letters, digits, - and _, starting with a letter "
        "or digit, at most 31",
    ),
    "one of two judges of a name": (
        GOOD.replace('bundle = "bundles/pcb"\n', "")
        + '[[judge]]\nname = "a"\nbundle = "b"\n[[judge]]\nname = "a"\nbundle = 5\n',
        "[[judge]] number 2 bundle: expected the folder of a model bundle, found 5: put it into quotes",
    ),
    "a judge's threshold": (
        GOOD.replace('bundle = "bundles/pcb"\n', "")
        + '[[judge]]\nname = "a"\nbundle = "b"\nthresholds = { open = "0.5" }\n',
        "[[judge]] \"a\" thresholds open: expected a number, found the text '0.5': take the quotes away",
    ),
    "an answer that is none": (
        GOOD + '[rule.unknown]\ndark = "pass"\n',
        '[rule.unknown] dark: expected "accept" or "reject", found the text \'pass\'',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_mistake_is_told_exactly(tmp_path: Path, case: str) -> None:
    """The key as it is found in the file, what is expected, what was found and often what to change."""
    text, expected = CASES[case]
    assert said_of(tmp_path, text) == expected


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Who corrects a recipe does it once, and not once a mistake."""
    text = GOOD.replace("640", "'640'") + '[timing]\nslots = 1\n[rule.unknown]\ndark = "pass"\n'
    assert said_of(tmp_path, text) == (
        "3 mistakes:\n"
        "  [source] width: expected a whole number from 8 to 16384, found the text '640': take the quotes "
        "away\n"
        "  [timing] slots: expected a whole number from 3 to 1024, found 1\n"
        '  [rule.unknown] dark: expected "accept" or "reject", found the text \'pass\''
    )


def test_keys_that_contradict_each_other_are_told_at_once(tmp_path: Path) -> None:
    """Also where each key alone is as it has to be."""
    said = said_of(tmp_path, GOOD + "[timing]\nguard_ms = 300\n[preprocess]\ncrop = [600, 0, 64, 64]\n")
    assert said.startswith("2 mistakes:\n  [timing] guard_ms: 300 leaves nothing of deadline_ms, 200: ")
    assert "\n  [preprocess] crop: [600, 0, 64, 64] (x, y, width, height) does not lie in the 640x480" in said


def test_of_very_many_mistakes_ten_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    """The first page stays readable."""
    text = GOOD + "[rule.unknown]\n" + "".join(f"reason_{i} = 5\n" for i in range(25))
    lines = said_of(tmp_path, text).splitlines()
    assert (lines[0], len(lines), lines[-1]) == ("25 mistakes:", 12, "  and 15 more")


@pytest.mark.parametrize(
    "line",
    ['address = ["rtsp://user:secret@camera/a"]', "address = rtsp://user:secret@camera/a"],
    ids=["another type", "without quotes"],
)
def test_a_mistake_tells_no_password(tmp_path: Path, line: str) -> None:
    """What is quoted of the recipe goes into logs, and to who is asked for help."""
    text = f'line = "a"\nbundle = "b"\n[source]\nkind = "video"\n{line}\nwidth = 64\nheight = 64\n'
    said = said_of(tmp_path, text)
    assert "rtsp://***@camera/a" in said
    assert "secret" not in said
