"""The account that ends every test of this folder finds each kind of fault, so its zeros mean something."""

from __future__ import annotations

from typing import Any

import pytest
from account import Captured, Heard, account, gaps
from numbered import number_named

PICTURES = {1: "000-004.a.png", 2: "001-140.a.png", 3: "002-008-cut.a.png"}
CAPTURED = {
    (9, sequence): Captured(source_ref=name, captured_ns=0, deadline_ns=1000 * sequence)
    for sequence, name in PICTURES.items()
}


def verdict(sequence: int, /, **fields: Any) -> Heard:
    """A right verdict on one of the three parts, with other fields where the test says so."""
    kind = {1: "pass", 2: "reject", 3: "unknown"}[sequence]
    body = {
        "run": "0a",
        "number": sequence,
        "epoch": 9,
        "sequence": sequence,
        "verdict": kind,
        "score": {1: 4 / 255, 2: 140 / 255, 3: None}[sequence],
        "judges": [{}] if sequence < 3 else [],
        "source_ref": PICTURES[sequence],
        "published_ns": 1000 * sequence - 1,
        "deadline_ns": 1000 * sequence,
        "resent": False,
    } | fields
    topic = "accept.line" if body["verdict"] == "pass" else "reject.line"
    return Heard(heard_ns=0, topic=fields.get("topic", topic), body=body)


ALL = [verdict(1), verdict(2), verdict(3)]


def faults(heard: list[Heard]) -> dict[str, int]:
    return account(CAPTURED, heard, lambda _, name: number_named(name)).faults


def test_right_verdicts_and_their_repetitions_are_no_fault() -> None:
    """What is sent again and says so is the same verdict; a late one is counted and no fault by itself."""
    assert faults([*ALL, verdict(2, resent=True), verdict(3, resent=True)]) == {}
    late = account(CAPTURED, [*ALL[:2], verdict(3, published_ns=3000)], lambda _, name: number_named(name))
    assert (late.captured, late.received, late.late, late.faults) == (3, 3, 1, {})


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([1, 2, 3], 0), ([3, 1, 2, 2], 1), ([1, 3], 1), ([2, 5], 3), ([1, 2, 3, 5], 1)],
    ids=["none", "one number twice", "one missing", "the first missing too", "the last but one"],
)
def test_numbers_that_never_came_are_found(numbers: list[int], expected: int) -> None:
    """Each run counts for itself, and what is sent again has the number that it had."""
    heard = [verdict(1, sequence=place, number=number) for place, number in enumerate(numbers)]
    again = [verdict(1, sequence=place, number=number, resent=True) for place, number in enumerate(numbers)]
    other = [verdict(1, sequence=number, number=number, run="0b") for number in (1, 2)]
    assert gaps([*heard, *again, *other]) == expected


@pytest.mark.parametrize(
    ("heard", "fault"),
    [
        (ALL[:2], "missing"),
        ([*ALL, verdict(2, sequence=4)], "invented"),
        ([*ALL, verdict(1, resent=True, score=5 / 255)], "conflicting"),
        ([*ALL, verdict(1, topic="reject.line", resent=True)], "conflicting"),
        ([*ALL, verdict(1)], "conflicting"),
        ([verdict(1, score=12 / 255), *ALL[1:]], "misattributed"),
        ([verdict(1, score=140 / 255, verdict="reject"), *ALL[1:]], "misattributed"),
        ([verdict(1, source_ref=PICTURES[2]), *ALL[1:]], "misattributed"),
        ([verdict(1, deadline_ns=2000), *ALL[1:]], "misattributed"),
        ([*ALL[:2], verdict(3, verdict="pass", score=8 / 255, judges=[{}])], "damaged_passed"),
        ([*ALL[:2], verdict(3, topic="accept.line")], "damaged_passed"),
        ([verdict(1, score=None), *ALL[1:]], "damaged_passed"),
        ([verdict(1, judges=[]), *ALL[1:]], "damaged_passed"),
        ([ALL[0], verdict(2, topic="accept.line"), ALL[2]], "damaged_passed"),
    ],
    ids=[
        "no verdict",
        "a part that nobody captured",
        "sent again otherwise",
        "sent again under another topic",
        "sent twice and not said so",
        "the score of another good part",
        "the score of a bad part",
        "another picture's name",
        "another deadline",
        "a cut picture passes",
        "a cut picture is accepted",
        "passed without a score",
        "passed without a judge",
        "a defect is accepted",
    ],
)
def test_each_fault_is_found(heard: list[Heard], fault: str) -> None:
    """A line that does this to one part has exactly this fault."""
    assert faults(heard) == {fault: 1}
