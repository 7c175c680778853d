"""Finds all mistakes in a document by comparing each key with the type that the key must have.

msgspec stops at the first mistake and describes it in Python's words. The messages made here are for the
writer of the document: which key is wrong, what is expected, what was found, and what to write instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct, inspect

from .wanted import choice, fits, found, remedy, wanted

#: The names on the way to a key; a list's entries are counted from 0.
Path = tuple[str | int, ...]
#: Returns the name of a key as its writer knows it.
Named = Callable[[Path], str]
#: In a path: any entry of a list.
EACH = -1


def mistakes(kind: type[Struct], document: Any, named: Named) -> Iterator[str]:
    """Yield one message for each mistake in a document that must have the type `kind`.

    `named` turns the path of a key, such as `("source", "fps")`, into words such as "[source] fps".
    """
    root = inspect.type_info(kind)
    return _Walk(list(_keys(root, ())), named).of(root, document, ())


class _Walk:
    """Compares a document with its types. `keys` holds every known key, with the tag of the key's section."""

    def __init__(self, keys: list[tuple[Path, str]], named: Named) -> None:
        self._keys, self._named = keys, named

    def of(self, kind: inspect.Type, value: Any, path: Path) -> Iterator[str]:
        """Yield a message for each mistake in a value or inside the value. `path` leads to the value."""
        plain = _chosen(kind, value)
        items = _items(plain, value)
        if isinstance(plain, inspect.StructType) and isinstance(value, dict):
            yield from self._section(plain, value, path)
        elif isinstance(plain, inspect.UnionType) and isinstance(value, dict):
            yield from self._tag(plain, value, path)
        elif isinstance(plain, inspect.DictType) and isinstance(value, dict):
            for key, entry in value.items():
                yield from self.of(plain.key_type, key, (*path, key))
                yield from self.of(plain.value_type, entry, (*path, key))
        elif items is not None:
            for number, (item, entry) in enumerate(zip(items, value, strict=True)):
                yield from self.of(item, entry, (*path, number))
        elif not fits(plain, value):
            yield f"{self._named(path)}: expected {wanted(kind)}, found {found(value)}{remedy(plain, value)}"

    def _section(self, kind: inspect.StructType, value: dict[str, Any], path: Path) -> Iterator[str]:
        """Yield a message for each unknown key, missing key and wrong value in a section."""
        fields = {field.encode_name: field for field in kind.fields}
        missing = [key for key, field in fields.items() if field.required and key not in value]
        unknown = [key for key in value if key not in fields and key != kind.tag_field]
        unused = fields.keys() - value.keys()
        for key in unknown if kind.forbid_unknown_fields else ():
            near = difflib.get_close_matches(key, unused, n=1, cutoff=0.5)
            # The misspelt key is the missing one: tell it once.
            missing = [name for name in missing if name not in near]
            what = "section" if isinstance(value[key], dict) else "key"
            yield f"{self._named((*path, key))}: unknown {what}: {self._advice((*path, key), near, kind)}"
        for key in missing:
            yield f"{self._named((*path, key))} is missing: write {wanted(fields[key].type)}"
        for key, field in fields.items():
            if key in value:
                yield from self.of(field.type, value[key], (*path, key))

    def _advice(self, path: Path, near: Sequence[str], kind: inspect.StructType) -> str:
        """Return advice about an unknown key: where the key belongs, or which key was probably meant."""
        any_entry = tuple(EACH if isinstance(step, int) else step for step in path)
        there = [(place, tag) for place, tag in self._keys if place[-1] == path[-1]]
        known = f"known here are {', '.join(field.encode_name for field in kind.fields)}"
        if tags := [tag for place, tag in there if place == any_entry]:
            return f"it is a key of {' and '.join(tags)}; with {_tag(kind)} {known}"
        if near and not there:
            return f"did you mean {near[0]!r}?"
        names = [self._named(place) for place in dict.fromkeys(place for place, _ in there) if len(place) > 1]
        names += ["the top, above the first section"] * any(len(place) == 1 for place, _ in there)
        return f"it belongs to {' or '.join(names)}; {known}" if names else known

    def _tag(self, kind: inspect.UnionType, value: dict[str, Any], path: Path) -> Iterator[str]:
        """Yield a message if the key that chooses the kind of a section is missing or has a wrong value."""
        sections = [section for section in kind.types if isinstance(section, inspect.StructType)]
        key, tags = str(sections[0].tag_field), choice([section.tag for section in sections])
        name = self._named((*path, key))
        if key in value:
            yield f"{name}: expected {tags}, found {found(value[key])}"
        else:
            yield f"{name} is missing: write {tags}"


def _chosen(kind: inspect.Type, value: Any) -> inspect.Type:
    """Return the type that a value must have. If several types are possible, the value's tag chooses one."""
    if isinstance(kind, inspect.Metadata):
        return _chosen(kind.type, value)
    if not isinstance(kind, inspect.UnionType):
        return kind
    if value is None and any(isinstance(one, inspect.NoneType) for one in kind.types):
        return inspect.NoneType()
    some = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
    for one in some if isinstance(value, dict) else ():
        if isinstance(one, inspect.StructType) and one.tag and value.get(one.tag_field) == one.tag:
            return one
    return _chosen(some[0], value) if len(some) == 1 else kind


def _items(kind: inspect.Type, value: Any) -> Sequence[inspect.Type] | None:
    """Return the type that each entry of a list must have. None if a list of this length is not expected."""
    if not isinstance(value, list):
        return None
    if isinstance(kind, inspect.TupleType) and len(kind.item_types) == len(value):
        return kind.item_types
    return [kind.item_type] * len(value) if isinstance(kind, inspect.VarTupleType) else None


def _keys(kind: inspect.Type, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the path of every key in a type, with the tag of the section that contains the key."""
    if isinstance(kind, inspect.Metadata):
        yield from _keys(kind.type, path)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _keys(one, path)
    elif isinstance(kind, inspect.VarTupleType):
        yield from _keys(kind.item_type, (*path, EACH))
    elif isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield (*path, field.encode_name), _tag(kind)
            yield from _keys(field.type, (*path, field.encode_name))


def _tag(kind: inspect.StructType) -> str:
    """Return the tag of a section as people write it, such as `kind = "folder"`."""
    return f'{kind.tag_field} = "{kind.tag}"'
