"""Writes recipe.md: each key of a recipe with its values, its default and its comment in edge/recipe."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.inspect import Metadata, StructType, Type, UnionType, VarTupleType, type_info

from edge.documents.wanted import wanted
from edge.recipe import Recipe

DOCUMENT = Path(__file__).with_name("recipe.md")
HEAD = """# The keys of a recipe

This page is written by `python docs/recipe_keys.py` from `edge/recipe/`. A recipe is one TOML file. It needs
`line`, a `bundle` or `[[judge]]` sections, and a `[source]` or `[[camera]]` sections; all else has a default.
Below a `[[camera]]`, its source is `[camera.source]`, with the keys of `[source]`. Paths are relative to the
recipe's folder. An unknown key is an error. `edge check RECIPE` finds mistakes.
"""


def document() -> str:
    """Return the text of recipe.md."""
    return HEAD + "".join(f"\n## {title}\n\n{_text(section)}" for title, section in _sections(Recipe, ""))


def _sections(section: type[Any], path: str) -> Iterator[tuple[str, type[Any]]]:
    """Yield the title and the class of a section, and then those of all sections below it."""
    kind = section.__struct_config__.tag
    title = f"`[{path}]`" if path else "Before any section"
    yield f'{title} with `kind = "{kind}"`' if kind else title, section
    for key in msgspec.structs.fields(section):
        below, many = _structs(type_info(key.type))
        for one in below:
            if many:
                yield f"`[[{key.encode_name}]]`, any number of them", one
            else:
                yield from _sections(one, f"{path}.{key.encode_name}".strip("."))


def _structs(kind: Type) -> tuple[list[type[Any]], bool]:
    """Return the sections that a key may hold, and whether it holds a list of them."""
    if isinstance(kind, Metadata):
        return _structs(kind.type)
    if isinstance(kind, VarTupleType):
        return _structs(kind.item_type)[0], True
    if isinstance(kind, UnionType):
        return [one.cls for one in kind.types if isinstance(one, StructType)], False
    return ([kind.cls] if isinstance(kind, StructType) else []), False


def _text(section: type[Any]) -> str:
    """Return what a section is for, and the table of its keys. Sections below it are not among them."""
    said = {key: text for one in reversed(section.__mro__) for key, text in _comments(one).items()}
    rows = []
    for key in msgspec.structs.fields(section):
        kind = type_info(key.type)
        if not _structs(kind)[0]:
            about = said.get(key.name, "")
            rows.append(f"| `{key.encode_name}` | {wanted(kind)} | {_default(key)} | {about} |\n")
    purpose = " ".join((section.__doc__ or "").split("\n\n")[0].split())
    table = "".join(["\n| key | value | default | |\n|---|---|---|---|\n", *rows]) if rows else ""
    return f"{purpose}\n{table}"


def _default(key: msgspec.structs.FieldInfo) -> str:
    if key.required:
        return "**needed**"
    value = None if key.default is msgspec.NODEFAULT else key.default
    return "" if value in (None, "", ()) else f"`{msgspec.json.encode(value).decode()}`"


def _comments(section: type[Any]) -> dict[str, str]:
    """Return the comment on each key that a class itself has: the one behind it, or the one above it."""
    if not section.__module__.startswith("edge.recipe"):
        return {}
    source = textwrap.dedent(inspect.getsource(section))
    behind, above = {}, {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            is_alone = token.line.strip() == token.string
            (above if is_alone else behind)[token.start[0]] = token.string.lstrip("#: ").rstrip(".")
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    return {
        node.target.id: text
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if (text := behind.get(node.end_lineno or 0) or above.get(node.lineno - 1))
    }


if __name__ == "__main__":
    DOCUMENT.write_text(document())
