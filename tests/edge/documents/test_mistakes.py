"""Every mistake that a recipe can have is told in the words of who writes recipes, all of them at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from edge.errors import RecipeError
from edge.recipe import Recipe
from edge.recipe_file import read_recipe

GOOD = """\
line = "pcb"
bundle = "bundles/pcb"

[source]
kind = "folder"
files = "frames/*.png"
width = 640
height = 480
"""
SOURCES = {
    "synthetic": {"kind": "synthetic", "width": 640, "height": 480},
    "folder": {"kind": "folder", "files": "frames/*.png", "width": 640, "height": 480},
    "video": {"kind": "video", "address": "/dev/video0", "width": 640, "height": 480},
    "belt": {"kind": "belt", "width": 640, "height": 480},
}
ENCODERS = {
    "simulated": {"kind": "simulated"},
    "serial": {"kind": "serial", "device": "/dev/ttyACM0"},
    "counter": {"kind": "counter", "device": "/sys/bus/counter/devices/counter0/count0"},
    "modbus": {"kind": "modbus", "host": "plc", "register": 0},
}
#: Sections of which a key is required.
SECTIONS: dict[str, dict[str, Any]] = {
    "fusion": {"false_reject": 0.1},
    "ejector": {"at": 500},
    "recorder": {"folder": "kept"},
    "challenge": {"every_h": 8},
}
#: Python's and msgspec's words, which nobody who writes a recipe has to know.
FOREIGN = ("`", "enum", "regex", "object", "struct", "array", "str ", "int ", "$", "^", "got", "None", "_type")
ODD: list[Any] = ["", "a b", "ü" * 40, "nothing of the kind", -1, 0, 1e9, -1e9, 10**9, float("nan"), 0.5, True]
ODD += [[], [1], [1, 2, 3, "a"], ["a", 5], [[]], {}, {"nothing_known": 1}, [{}], [{"nothing_known": 1}]]
ODD += [{"a": "text"}, {"a": []}]


def written(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {written(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else repr(value)


def said_of(folder: Path, text: str | bytes) -> str:
    """What is said of a recipe, without the file's name in front."""
    path = folder / "pcb.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecipeError) as error:
        read_recipe(path)
    said = str(error.value)
    assert said.startswith(f"{path}: ")
    return said.removeprefix(f"{path}: ")


def said_of_document(folder: Path, document: dict[str, Any]) -> str:
    return said_of(folder, "".join(f"{key} = {written(value)}\n" for key, value in document.items()))


def fields(kind: inspect.Type, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], inspect.Field]]:
    """Every key of a recipe, by its path; of several judges that of the second."""
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from fields(one, (*path, one.tag) if getattr(one, "tag", None) else path)
    elif isinstance(kind, inspect.VarTupleType):
        yield from fields(kind.item_type, (*path, 1))
    elif isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield (*path, field.encode_name), field
            yield from fields(field.type, (*path, field.encode_name))


FIELDS = dict(fields(inspect.type_info(Recipe), ()))


def document_with(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A good recipe but for one key."""
    document: dict[str, Any] = {"line": "pcb", "source": SOURCES["folder"] | {}}
    if path[0] == "judge":
        document["judge"] = [{"name": "first", "bundle": "a"}, {"name": "second", "bundle": "b"}]
    else:
        document["bundle"] = "a"
    if path[0] in SECTIONS:
        document[path[0]] = SECTIONS[path[0]] | {}
    if path[:2] == ("belt", "encoder") and len(path) > 2:
        document["belt"], path = {"encoder": ENCODERS[path[2]] | {}}, (*path[:2], *path[3:])
    if path[0] == "source" and len(path) > 1:
        document["source"], path = SOURCES[path[1]] | {}, ("source", *path[2:])
    if path[0] == "camera":
        del document["source"]
        kind = path[3] if path[2:3] == ("source",) and len(path) > 3 else "folder"
        path = tuple(step for place, step in enumerate(path) if place != 3 or step not in SOURCES)
        document["camera"] = [
            {"name": "top", "source": SOURCES["folder"] | {}},
            {"name": "side", "source": SOURCES[kind] | {}},
        ]
    *way, last = path
    inner: Any = document
    for step in way:
        inner = inner[step] if isinstance(step, int) else inner.setdefault(step, {})
    inner[last] = value
    return document


def bounds(kind: inspect.Type) -> list[str]:
    """What a message about a value that is not allowed has to say: all that is allowed."""
    if isinstance(kind, inspect.Metadata):
        return [str((kind.extra_json_schema or {})["description"])]
    if isinstance(kind, inspect.UnionType):
        return bounds(kind.types[0])
    if isinstance(kind, inspect.LiteralType):
        return [f'"{value}"' for value in kind.values]
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return [f"{end:.15g}" for end in (kind.ge, kind.gt, kind.le, kind.lt) if end is not None]
    return []


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_whatever_is_written_for_a_key_is_answered_in_plain_words(
    tmp_path: Path, path: tuple[Any, ...]
) -> None:
    """Of each value that a key may not have: the key's name and all that is allowed, without Python's words."""
    refused = 0
    for value in ODD:
        document = document_with(path, value)
        try:
            msgspec.convert(document, Recipe)
        except msgspec.ValidationError:
            refused += 1
        else:
            continue
        said = said_of_document(tmp_path, document)
        assert not [word for word in FOREIGN if word in said], said
        assert str(path[-1]) in said or "[[judge]]" in said or "[[camera]]" in said
        assert "expected" in said or "unknown" in said or "is missing" in said
        if not isinstance(value, dict | list):
            assert all(end in said for end in bounds(FIELDS[path].type)), said
    assert refused


@pytest.mark.parametrize(
    "path",
    [path for path, field in FIELDS.items() if field.required],
    ids=lambda path: ".".join(map(str, path)),
)
def test_a_key_that_is_missing_is_told_with_what_to_write(tmp_path: Path, path: tuple[Any, ...]) -> None:
    """Its section, its name, and what may stand there."""
    document = document_with(path, 0)
    # After these two, a path has the kind of the section.
    before = ("", *path)
    *way, last = [
        step for at, step in enumerate(path) if before[at] not in ("source", "encoder") or at == len(path) - 1
    ]
    inner: Any = document
    for step in way:
        inner = inner[step]
    del inner[last]
    said = said_of_document(tmp_path, document)
    assert f"{last} is missing: write " in said
    assert all(end in said for end in bounds(FIELDS[path].type))
    assert not [word for word in FOREIGN if word in said], said


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


NO_TOML = {
    "no quotes": (
        "pcb",
        "not a TOML file: line 2, column 10: invalid value, in `bundle = pcb`: put text into quotes",
    ),
    "a path of Windows": (
        '"C:\\parts"',
        "not a TOML file: line 2, column 15: unescaped '\\' in a string, in `bundle = \"C:\\parts\"`: put the "
        "text into single quotes",
    ),
    "no closing quotes": (
        '"pcb',
        "not a TOML file: line 2, column 14: illegal character '\\n', in `bundle = \"pcb`: close the quotes",
    ),
    "a key twice": (
        '"pcb"\nbundle = "pcb"',
        'not a TOML file: line 3, column 15: cannot overwrite a value, in `bundle = "pcb"`: this key or '
        "section is there twice",
    ),
    "a section twice": (
        '"pcb"\n[source]',
        "not a TOML file: line 5, column 8: cannot declare ('source',) twice, in `[source]`: this key or "
        "section is there twice",
    ),
    "no end": ("[\n", "not a TOML file: line 5, column 2: invalid value, in `[source]`: put text"),
}


@pytest.mark.parametrize("case", NO_TOML)
def test_what_is_no_toml_is_told_by_its_line(tmp_path: Path, case: str) -> None:
    """Line, column, what stands there, and what to do."""
    value, expected = NO_TOML[case]
    assert said_of(tmp_path, GOOD.replace('"bundles/pcb"', value)).startswith(expected)


def test_the_last_line_is_named_where_something_is_not_closed(tmp_path: Path) -> None:
    """A list that is open until the file ends."""
    said = said_of(tmp_path, GOOD + "[preprocess]\ncrop = [0, 0,")
    assert said.startswith("not a TOML file: line 10, column 14: invalid value, in `crop = [0, 0,`: ")


def test_a_recipe_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """As Windows' editor writes it."""
    path = tmp_path / "pcb.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert read_recipe(path)[0].line == "pcb"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (GOOD.replace("[source]", "# für\n[source]").encode("latin-1"), "found the byte 0xfc in line 4"),
        (GOOD.encode("utf-16"), "found the byte 0xff in line 1"),
        (GOOD.encode("utf-16-le"), "found zero bytes, as UTF-16 has them"),
    ],
    ids=["Latin-1", "UTF-16", "UTF-16 without its mark"],
)
def test_a_recipe_that_is_not_utf_8_is_told_so(tmp_path: Path, data: bytes, expected: str) -> None:
    """The byte that is none, its line, and how to save the file."""
    assert said_of(tmp_path, data) == f"not UTF-8: {expected}: save the file as UTF-8"


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
