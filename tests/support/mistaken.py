"""What is said of a recipe with mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import RecipeError
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
#: Python's and msgspec's words, which nobody who writes a recipe has to know.
FOREIGN = ("`", "enum", "regex", "object", "struct", "array", "str ", "int ", "$", "^", "got", "None", "_type")


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
