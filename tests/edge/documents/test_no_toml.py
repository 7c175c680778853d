"""A recipe that is no TOML is told by the line at which it goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from mistaken import GOOD, said_of

from edge.recipe_file import read_recipe

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
