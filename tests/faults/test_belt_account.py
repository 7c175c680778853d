"""The account of a line with several cameras finds each kind of fault, so its zeros mean something."""

from __future__ import annotations

from typing import Any

import pytest
from account import Heard
from belt_account import EMPTY, Seen, belt_account

#: Two boards before two cameras; behind them, `side` shows the empty belt once.
SHOWN = {"top": ["board 1", "board 2"], "side": ["board 1", "board 2", EMPTY]}
EPOCHS = {"top": 5, "side": 6}
CAPTURED = {
    (EPOCHS[camera], entry + 1): Seen(run="0a", camera=camera, entry=entry, shows=shows)
    for camera, each in SHOWN.items()
    for entry, shows in enumerate(each)
}


def look(camera: str, entry: int | None, reason: str = "clean") -> dict[str, Any]:
    return {"camera": camera, "entry": entry, "reason": reason}


def verdict(
    number: int, *looks: dict[str, Any], of: tuple[int, int] | None = None, topic: str = "accept"
) -> Heard:
    body = {
        "run": "0a",
        "number": number,
        "epoch": of[0] if of else EPOCHS["top"],
        "sequence": of[1] if of else number,
        "looks": list(looks),
        "resent": False,
    }
    return Heard(heard_ns=0, topic=f"{topic}.line", body=body)


STRAY = verdict(3, look("side", 2, "stray"), of=(6, 3), topic="reject")
ALL = [
    verdict(1, look("top", 0), look("side", 0)),
    verdict(2, look("top", 1), look("side", 1)),
    STRAY,
]


def test_a_look_that_nobody_saw_shows_nothing() -> None:
    """It was counted by the camera while capture was away, and its part may be any."""
    captured = {**CAPTURED, (6, 2): Seen(run="0a", camera="side", entry=1, shows="")}
    heard = [ALL[0], verdict(2, look("top", 1), look("side", 1, "missing"), topic="reject"), STRAY]
    assert belt_account(captured, heard, "top").faults == {}


def test_right_verdicts_are_no_fault() -> None:
    """Two parts of two looks, and a look without a part that has a verdict of its own."""
    found = belt_account(CAPTURED, ALL, "top")
    assert (found.looks, found.parts, found.strays, found.faults) == (5, 2, 1, {})


MISSED = verdict(2, look("top", 1), look("side", None, "missing"), topic="reject")


@pytest.mark.parametrize(
    ("heard", "faults"),
    [
        (ALL[:2], {"missing": 1}),
        ([ALL[0], MISSED, STRAY], {"missing": 1}),
        (
            [ALL[0], verdict(2, look("top", 1), look("side", 0)), STRAY],
            {"misattributed": 1, "twice": 1, "missing": 1},
        ),
        ([*ALL, verdict(4, look("side", 1, "stray"), of=(6, 2), topic="reject")], {"twice": 1}),
        ([*ALL[:2], verdict(3, look("side", 2), of=(6, 3))], {"damaged_passed": 1}),
        ([ALL[0], verdict(2, look("top", 1), look("side", 1, "dark")), STRAY], {"damaged_passed": 1}),
        ([*ALL, verdict(2, look("top", 1), look("side", 1), topic="reject")], {"conflicting": 1}),
        ([ALL[0], ALL[1], verdict(4, look("side", 2, "stray"), of=(6, 3), topic="reject")], {"gaps": 1}),
    ],
    ids=[
        "a stray that nobody tells of",
        "a look that nobody has",
        "another part's look",
        "a look of a part that is a stray too",
        "the empty belt passes",
        "a part passes with a dark look",
        "two verdicts",
        "a number that never came",
    ],
)
def test_each_fault_is_found(heard: list[Heard], faults: dict[str, int]) -> None:
    """A line that does this has exactly these faults."""
    assert belt_account(CAPTURED, heard, "top").faults == faults
