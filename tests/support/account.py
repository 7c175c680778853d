"""The account of a line: the parts that it captured against the verdicts that a subscriber heard of them.

Knows no line and no socket: it compares what others have read. It reads verdicts as JSON and not by the line's
own code, so a fault of that code cannot hide here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: A part by its epoch and sequence, which no other part of the line has.
PartId = tuple[int, int]
#: Half the distance of two numbers, as `numbered.py` gives them to pictures.
NEAR = 2.0


@dataclass(frozen=True, kw_only=True)
class Captured:
    """What the ledger says of a part."""

    source_ref: str
    captured_ns: int
    deadline_ns: int
    run: str = ""
    camera: str = ""
    entry: int = 0


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A message that a subscriber received: when, under which topic, and its JSON."""

    heard_ns: int
    topic: str
    body: Mapping[str, Any]

    @property
    def id(self) -> PartId:
        return self.body["epoch"], self.body["sequence"]

    @property
    def is_judged(self) -> bool:
        return bool(self.body["verdict"] != "unknown")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Numbers of parts. A line that keeps its promise has 0 in all but the first two and `late`."""

    captured: int
    received: int  # parts with at least one verdict
    missing: int  # parts without a verdict
    invented: int  # verdicts on parts that nobody captured
    conflicting: int  # parts with two verdicts that differ in more than `resent`
    misattributed: int  # parts with a verdict on another part's picture
    damaged_passed: int  # parts that passed though their picture was damaged, or though nobody judged them
    gaps: int  # numbers of verdicts that never came, or that two parts have
    late: int  # parts whose verdict was first sent at the deadline or after it

    @property
    def faults(self) -> dict[str, int]:
        """What must never be, whatever breaks, with how often it was; empty if all is well."""
        never = ("missing", "invented", "conflicting", "misattributed", "damaged_passed", "gaps")
        return {name: count for name, count in asdict(self).items() if name in never and count}


def account(
    captured: Mapping[PartId, Captured],
    heard: Sequence[Heard],
    number_of: Callable[[PartId, str], int | None],
    missing_numbers: int = 0,
) -> Account:
    """Compare the parts in the ledgers with the verdicts heard.

    `number_of` tells from a part's id and `source_ref` the number that its picture shows; None if the picture
    is damaged. `missing_numbers` is what `gaps` says of all verdicts, also of later parts.
    """
    verdicts: dict[PartId, list[Heard]] = {}
    for one in heard:
        verdicts.setdefault(one.id, []).append(one)
    known = {part_id: found for part_id, found in verdicts.items() if part_id in captured}
    return Account(
        captured=len(captured),
        received=len(known),
        missing=len(captured.keys() - known.keys()),
        invented=len(verdicts) - len(known),
        conflicting=sum(conflicts(found) for found in known.values()),
        misattributed=sum(
            any(_is_of_another(one, captured[key], number_of) for one in found) for key, found in known.items()
        ),
        damaged_passed=sum(
            any(_wrongly_passed(one, number_of(key, captured[key].source_ref)) for one in found)
            for key, found in known.items()
        ),
        gaps=missing_numbers,
        late=sum(found[0].body["published_ns"] >= captured[key].deadline_ns for key, found in known.items()),
    )


def gaps(heard: Sequence[Heard]) -> int:
    """How many numbers of a run's verdicts are missing up to the highest one, or are given to several parts."""
    parts: dict[str, dict[int, set[PartId]]] = {}
    for one in heard:
        parts.setdefault(one.body["run"], {}).setdefault(one.body["number"], set()).add(one.id)
    return sum(
        len(set(range(1, max(found) + 1)) - found.keys()) + sum(len(ids) - 1 for ids in found.values())
        for found in parts.values()
    )


def conflicts(found: Sequence[Heard]) -> bool:
    """Whether the verdicts on one part differ. One that is sent again says so, and nothing else differs."""
    told = {(one.topic, json.dumps({**one.body, "resent": False}, sort_keys=True)) for one in found}
    first_twice = sum(not one.body["resent"] for one in found) > 1
    return len(told) > 1 or first_twice


def _is_of_another(one: Heard, part: Captured, number_of: Callable[[PartId, str], int | None]) -> bool:
    """Whether a verdict names another picture than the ledger, or was made from the pixels of another part."""
    if (one.body["source_ref"], one.body["deadline_ns"]) != (part.source_ref, part.deadline_ns):
        return True
    score, number = one.body["score"], number_of(one.id, part.source_ref)
    return one.is_judged and score is not None and number is not None and abs(255 * score - number) > NEAR


def _wrongly_passed(one: Heard, number: int | None) -> bool:
    """Whether a verdict lets a part through whose picture is damaged, or which nobody judged."""
    passed = one.body["verdict"] == "pass"
    if not passed and not one.topic.startswith("accept."):
        return False
    judged = one.body["score"] is not None and one.body["judges"]
    return number is None or not passed or not judged
