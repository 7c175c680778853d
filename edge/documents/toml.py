"""Reads a TOML file into a dictionary, and names keys in messages as the writer of the file knows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from ..errors import RecipeError
from ..text import text_of
from .address import without_secrets

#: Longest line. The parser's work and memory grow with the square of the number of dots in a key.
LINE_BYTES = 2048

#: What to do about an error, by the beginning of the parser's message.
_REMEDIES = {
    "Invalid value": "put text into quotes, write true and false in small letters, and close every list",
    "Cannot": "this key or section is there twice: take one out",
    "Unescaped": "put the text into single quotes, in which \\ stands for itself, as in 'C:\\parts'",
    "Invalid hex": "put the text into single quotes, in which \\ stands for itself, as in 'C:\\users'",
    "Illegal character '\\n'": "close the quotes at the end of the text",
    "Expected '='": 'write key = value, as in line = "pcb"',
    "Expected newline": "write one key = value a line, and put a list into square brackets",
    "Expected ']": "close the brackets of the section, as in [source]",
    "Unclosed": "close the brackets",
}


def read_toml(data: bytes) -> dict[str, Any]:
    """Return the content of a TOML file in UTF-8. A byte-order mark at its beginning is allowed.

    Raises RecipeError, which tells the line and column, what was found there, and what to do.
    """
    try:
        text = text_of(data)
    except ValueError as error:
        raise RecipeError(str(error)) from error
    for number, line in enumerate(data.split(b"\n"), 1):
        if len(line) > LINE_BYTES:
            raise RecipeError(
                f"line {number}: {len(line)} bytes are too long, and {LINE_BYTES} are read: write the entries "
                "of a list on lines of their own"
            )
    try:
        table: dict[str, Any] = msgspec.toml.decode(text)
    except RecursionError as error:
        raise RecipeError("its lists or sections are nested too deeply: write them flat") from error
    except msgspec.DecodeError as error:
        raise RecipeError(f"not a TOML file: {_explain(text, str(error))}") from error
    return table


def _explain(text: str, said: str) -> str:
    """Return an error text: line, column, the parser's message `said`, the text of the line, and what to do."""
    lines = text.splitlines() or [""]
    place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", said)
    what = said[: place.start()] if place else said
    line = int(place[1]) if place and place[1] else len(lines)
    column = int(place[2]) if place and place[2] else len(lines[-1]) + 1
    remedy = next((f": {text}" for begin, text in _REMEDIES.items() if what.startswith(begin)), "")
    found = without_secrets(lines[min(line, len(lines)) - 1].strip())
    return f"line {line}, column {column}: {what[:1].lower()}{what[1:]}, in `{found}`{remedy}"


def toml_key(document: dict[str, Any], path: Sequence[str | int]) -> str:
    """Return a key's name, such as `[source] color`, `[[judge]] "odd" crop`, `[publish] endpoints, entry 2`.

    Of several sections of a kind, each is named by its `name`, or by its number if it has no `name` or shares
    the `name` with another section.
    """
    *section, key = path
    if isinstance(key, int):
        return f"{toml_key(document, section)}, entry {key + 1}"
    return f"{_section(document, section)} {key}" if section else key


def _section(document: dict[str, Any], path: list[str | int]) -> str:
    """Return a section's heading for messages. One of several such sections gets its name or number too."""
    numbers = [at for at, step in enumerate(path) if isinstance(step, int)]
    if not numbers:
        return f"[{'.'.join(map(str, path))}]"
    outer, number, rest = path[: numbers[-1]], int(path[numbers[-1]]), path[numbers[-1] + 1 :]
    told = f"[[{'.'.join(map(str, outer))}]]"
    if number >= 0:
        entries: Any = document
        for step in outer:
            entries = entries[step]
        names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
        own = isinstance(names[number], str) and names.count(names[number]) == 1
        told += f' "{names[number]}"' if own else f" number {number + 1}"
    return " ".join([told, *map(str, rest)])
