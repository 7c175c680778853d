"""The account of a line with several cameras: each look against the verdicts that name it.

As `account.py`, it knows no line and reads verdicts as JSON. What a look shows is taken from the ledger, where
the simulated belt has written it before any verdict: `board 7`, or `empty belt`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from account import Heard, PartId, conflicts, gaps

EMPTY = "empty belt"
#: What a look shows that was triggered while nobody looked; it is in the ledger, and never judged.
UNSEEN = ""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A row of a camera's ledger: a look, which is a part if the camera is the first one."""

    run: str
    camera: str
    entry: int
    shows: str


@dataclass(frozen=True, kw_only=True)
class BeltAccount:
    """Numbers of looks and verdicts; all but the first three are 0 for a line that keeps its promise."""

    looks: int
    parts: int  # looks of the first camera
    strays: int  # looks of other cameras with a verdict of their own
    missing: int  # looks of which no verdict says anything
    twice: int  # looks that two parts have
    misattributed: int  # verdicts whose looks show different boards
    conflicting: int  # parts with two verdicts that differ in more than `resent`
    damaged_passed: int  # parts that passed though a look is missing, was not judged or shows the empty belt
    gaps: int  # numbers of verdicts that never came, or that two parts have

    @property
    def faults(self) -> dict[str, int]:
        """What must never be, whatever breaks, with how often it was; empty if all is well."""
        told = ("looks", "parts", "strays")
        return {name: count for name, count in asdict(self).items() if name not in told and count}


def belt_account(
    captured: Mapping[PartId, Seen], heard: Sequence[Heard], first: str, missing_numbers: int | None = None
) -> BeltAccount:
    """Compare the looks in the ledgers with the verdicts heard; `first` is the camera that makes parts.

    `missing_numbers` is what `gaps` says of all verdicts, also of later parts; by default it is of these.
    """
    places = {(seen.run, seen.camera, seen.entry): key for key, seen in captured.items()}
    named: dict[PartId, set[PartId]] = {key: set() for key in captured}  # a look -> whose verdicts name it
    verdicts: dict[PartId, list[Heard]] = {}
    mixed, wrongly_passed = set[PartId](), set[PartId]()
    for one in heard:
        verdicts.setdefault(one.id, []).append(one)
        looks = [(one.body["run"], look["camera"], look["entry"]) for look in one.body["looks"]]
        keys = {places[look] for look in looks if look in places} | ({one.id} & captured.keys())
        for key in keys:
            named[key].add(one.id)
        shown = {captured[key].shows for key in keys} - {UNSEEN}
        if len(shown) > 1:
            mixed.add(one.id)
        whole = all(look["entry"] is not None and look["reason"] == "clean" for look in one.body["looks"])
        if one.topic.startswith("accept.") and not (whole and EMPTY not in shown):
            wrongly_passed.add(one.id)
    return BeltAccount(
        looks=len(captured),
        parts=sum(seen.camera == first for seen in captured.values()),
        strays=sum(key in verdicts and seen.camera != first for key, seen in captured.items()),
        missing=sum(not ids for ids in named.values()),
        twice=sum(len(ids) > 1 for ids in named.values()),
        misattributed=len(mixed),
        conflicting=sum(map(conflicts, verdicts.values())),
        damaged_passed=len(wrongly_passed),
        gaps=gaps(heard) if missing_numbers is None else missing_numbers,
    )
