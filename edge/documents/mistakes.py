"""Every mistake in a document that was read, key by key, told from the types that it has to have.

msgspec stops at the first mistake and names it in Python's words. This names all of them in the words of
who wrote the document: which key, what is expected there, what was found, and what to write instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct, inspect

from .wanted import choice, fits, found, remedy, wanted

Path = tuple[str | int, ...]  # of a key; entries of a list are counted from 0
Named = Callable[[Path], str]  # a key's name for people
EACH = -1  # in a path: any entry of the list


def mistakes(kind: type[Struct], document: Any, named: Named) -> Iterator[str]:
    """What is wrong with a document that has to be of this kind; nothing where it can be read."""
    root = inspect.type_info(kind)
    return _Walk(list(_keys(root, ())), named).of(root, document, ())


class _Walk:
    """Along a document and its types; `keys` are all that there are, with the tag of their section."""

    def __init__(self, keys: list[tuple[Path, str]], named: Named) -> None:
        self._keys, self._named = keys, named

    def of(self, kind: inspect.Type, value: Any, path: Path) -> Iterator[str]:
        """The mistakes in a value and in all that is in it."""
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
        fields = {field.encode_name: field for field in kind.fields}
        missing = [key for key, field in fields.items() if field.required and key not in value]
        unknown = [key for key in value if key not in fields and key != kind.tag_field]
        for key in unknown if kind.forbid_unknown_fields else ():
            near = difflib.get_close_matches(key, fields.keys() - value.keys(), n=1, cutoff=0.5)
            missing = [name for name in missing if name not in near]  # one mistake is told once
            what = "section" if isinstance(value[key], dict) else "key"
            yield f"{self._named((*path, key))}: unknown {what}: {self._advice((*path, key), near, kind)}"
        for key in missing:
            yield f"{self._named((*path, key))} is missing: write {wanted(fields[key].type)}"
        for key, field in fields.items():
            if key in value:
                yield from self.of(field.type, value[key], (*path, key))

    def _advice(self, path: Path, near: Sequence[str], kind: inspect.StructType) -> str:
        """Where an unknown key belongs, or which one was meant."""
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
        """What is wrong with the key that says which kind of section it is."""
        sections = [section for section in kind.types if isinstance(section, inspect.StructType)]
        key, tags = str(sections[0].tag_field), choice([section.tag for section in sections])
        name = self._named((*path, key))
        if key in value:
            yield f"{name}: expected {tags}, found {found(value[key])}"
        else:
            yield f"{name} is missing: write {tags}"


def _chosen(kind: inspect.Type, value: Any) -> inspect.Type:
    """What a value has to be: of several kinds the one that it says it is, or all where it says none."""
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
    """What each entry of a list has to be; None where no list, or one of another length, is expected."""
    if not isinstance(value, list):
        return None
    if isinstance(kind, inspect.TupleType) and len(kind.item_types) == len(value):
        return kind.item_types
    return [kind.item_type] * len(value) if isinstance(kind, inspect.VarTupleType) else None


def _keys(kind: inspect.Type, path: Path) -> Iterator[tuple[Path, str]]:
    """Every key that there is, with the tag of the section that it is in."""
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
    return f'{kind.tag_field} = "{kind.tag}"'
