"""Says which uses of a library do not fit it: names that it lacks, and calls that its functions do not take.

    python signatures.py LIBRARY < uses

`uses` is a list in JSON; each use is the name's steps from the library on, how many positional arguments a call
has (null for no call), and its keywords. Prints the list of what does not fit. Functions of pybind11 tell their
parameters in their docstrings, all others by Python's `inspect`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

_LINE = re.compile(r"^(?:\d+\. )?\w+\((?P<parameters>.*)\) -> ")
#: Brackets in which a comma separates nothing.
_OPENING, _CLOSING = "([{<", ")]}>"

Use = tuple[list[str], int | None, list[str]]


def unfit(library: Any, use: Use) -> str | None:
    """Return in words why a use does not fit the library; None if it does."""
    steps, positional, keywords = use
    owner, value = None, library
    for step in steps:
        if step in _annotated(value):  # of instances, whose values are set when they are made
            return None
        if not hasattr(value, step):
            return f"{'.'.join(steps)} is missing"
        owner, value = value, getattr(value, step)
    if positional is None:
        return None
    if type(owner).__module__ == "builtins" and not inspect.isclass(owner) and not inspect.ismodule(owner):
        return None  # Python's own, such as a version's text
    if inspect.isclass(value) and issubclass(value, Enum):
        return None if (positional, keywords) == (1, []) else f"{'.'.join(steps)} takes one value"
    if inspect.isclass(value):
        owner, value = value, value.__init__
    bound = inspect.isclass(owner) and steps[-1] != "__init__"
    takes = list(_signatures(value))
    if any(_fits(names, required, positional + bound, keywords) for names, required in takes):
        return None
    call = ", ".join([*["_"] * positional, *(f"{name}=_" for name in keywords)])
    known = " or ".join(f"({', '.join(names)})" for names, _ in takes)
    return f"{'.'.join(steps)}({call}) is taken by none of {known}"


def _annotated(value: Any) -> set[str]:
    """Return the attributes that a class says its instances have."""
    classes = value.__mro__ if inspect.isclass(value) else ()
    return {name for each in classes for name in inspect.get_annotations(each)}


def _fits(names: Sequence[str], required: int, positional: int, keywords: Sequence[str]) -> bool:
    """Return whether a function with these parameters, of which the first ones are required, takes a call."""
    left = names[positional:]
    told = positional <= len(names) and set(keywords) <= set(left)
    return told and set(names[positional:required]) <= set(keywords)


def _signatures(function: Any) -> Iterator[tuple[list[str], int]]:
    """Yield the parameters of each overload of a function, and how many of them are required."""
    if inspect.isfunction(function):
        parameters = inspect.signature(function).parameters.values()
        yield [p.name for p in parameters], sum(p.default is inspect.Parameter.empty for p in parameters)
        return
    for line in (function.__doc__ or "").splitlines():
        found = _LINE.match(line)
        if found and not found["parameters"].startswith("*args"):
            parameters = list(_split(found["parameters"]))
            names = [parameter.partition(":")[0].strip() for parameter in parameters]
            yield names, sum(" = " not in parameter for parameter in parameters)


def _split(text: str) -> Iterator[str]:
    """Yield what commas outside of brackets separate."""
    depth, start = 0, 0
    for at, character in enumerate(text):
        # The arrow in a type of functions is no bracket.
        depth += (character in _OPENING) - (character in _CLOSING and text[at - 1 : at + 1] != "->")
        if character == "," and not depth:
            yield text[start:at]
            start = at + 1
    if text.strip():
        yield text[start:]


def main(name: str) -> None:
    library = importlib.import_module(name)
    found = [unfit(library, use) for use in json.load(sys.stdin)]
    print(json.dumps([why for why in found if why]))


if __name__ == "__main__":
    main(sys.argv[1])
