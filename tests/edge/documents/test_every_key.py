"""Whatever is written for a key of a recipe, or left out, is answered in plain words that name the key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mistaken import FOREIGN, said_of_document
from msgspec import inspect

from edge.recipe import Recipe

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
ODD: list[Any] = ["", "a b", "ü" * 40, "nothing of the kind", -1, 0, 1e9, -1e9, 10**9, float("nan"), 0.5, True]
ODD += [[], [1], [1, 2, 3, "a"], ["a", 5], [[]], {}, {"nothing_known": 1}, [{}], [{"nothing_known": 1}]]
ODD += [{"a": "text"}, {"a": []}]


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
        return [f'"{value}"' if isinstance(value, str) else str(value) for value in kind.values]
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
