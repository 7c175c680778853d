"""Describes, for the writer of a recipe, which values a key may have and which value the key has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec import inspect

from .address import without_secrets

Number = (inspect.IntType, inspect.FloatType)
_MANY = {
    inspect.IntType: "whole numbers",
    inspect.FloatType: "numbers",
    inspect.StrType: "texts",
    inspect.StructType: "sections",
}


def fits(kind: inspect.Type, value: Any) -> bool:
    """Return whether a plain value has the type `kind`. False if `kind` is a section or a list."""
    if isinstance(kind, inspect.IntType):
        return type(value) is int and _in_range(kind, value)
    if isinstance(kind, inspect.FloatType):
        return type(value) in (int, float) and _in_range(kind, value)
    if isinstance(kind, inspect.StrType):
        return isinstance(value, str) and (kind.pattern is None or bool(re.search(kind.pattern, value)))
    if isinstance(kind, inspect.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, inspect.LiteralType):
        return any(value == one and type(value) is type(one) for one in kind.values)
    holders = (inspect.StructType, inspect.UnionType, inspect.DictType, inspect.TupleType, inspect.VarTupleType)
    return value is None if isinstance(kind, inspect.NoneType) else not isinstance(kind, holders)


def wanted(kind: inspect.Type) -> str:
    """Return the type's own description or, if it has none, a text such as `a whole number, at least 1`."""
    if isinstance(kind, inspect.Metadata):
        return str((kind.extra_json_schema or {}).get("description") or wanted(kind.type))
    if isinstance(kind, Number):
        return ("a whole number" if isinstance(kind, inspect.IntType) else "a number") + _range(kind)
    if isinstance(kind, inspect.StrType):
        return f"a text that {kind.pattern} fits" if kind.pattern else "a text"
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.LiteralType):
        return choice(kind.values)
    if isinstance(kind, inspect.TupleType):
        return f"a list of {len(kind.item_types)} {_many(kind.item_types[0])}"
    if isinstance(kind, inspect.VarTupleType):
        return f"a list of {_many(kind.item_type)}"
    if isinstance(kind, inspect.UnionType):
        some = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return wanted(some[0])
    return "a section"


def found(value: Any) -> str:
    """Return a short text that describes a value in the document. Passwords in the value are hidden."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {_short(repr(without_secrets(value)))}"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return (
            "a list of sections" if _of_sections(value) else f"the list {_short(without_secrets(str(value)))}"
        )
    return "null" if value is None else str(value)


def remedy(kind: inspect.Type, value: Any) -> str:
    """Return what to change, as a text that begins with a colon. Empty if the mistake is not a common one."""
    if isinstance(value, str):
        is_bare = isinstance(kind, (*Number, inspect.BoolType)) or (
            isinstance(kind, inspect.LiteralType) and not isinstance(kind.values[0], str)
        )
        if is_bare and re.fullmatch(r"[+-]?[\d._]+|true|false", value):
            return ": take the quotes away"
        return ": put it into square brackets" if isinstance(kind, inspect.VarTupleType) else ""
    if isinstance(value, list):
        is_section = isinstance(kind, (inspect.StructType, inspect.UnionType, inspect.DictType))
        return ": write its name in single brackets" if is_section and _of_sections(value) else ""
    if isinstance(value, dict):
        return ": write its name in double brackets" if isinstance(kind, inspect.VarTupleType) else ""
    return ": put it into quotes" if isinstance(kind, inspect.StrType) else ""


def choice(values: Sequence[Any]) -> str:
    """Return the values as a choice, such as `"a", "b" or "c"`, or `16, 32 or 64`."""
    *first, last = [f'"{value}"' if isinstance(value, str) else str(value) for value in values]
    return f"{', '.join(first)} or {last}" if first else last


def _short(text: str) -> str:
    return text if len(text) < 60 else f"{text[:56]}..."


def _in_range(kind: inspect.IntType | inspect.FloatType, value: float) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
    )


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge:.10g} to {kind.le:.10g}"
    bounds = {"at least": kind.ge, "above": kind.gt, "at most": kind.le, "below": kind.lt}
    said = [f"{word} {bound:.10g}" for word, bound in bounds.items() if bound is not None]
    return f", {' and '.join(said)}" if said else ""


def _many(kind: inspect.Type) -> str:
    return _MANY.get(type(kind.type if isinstance(kind, inspect.Metadata) else kind), "entries")


def _of_sections(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(entry, dict) for entry in value)
