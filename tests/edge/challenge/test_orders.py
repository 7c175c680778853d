"""Which parts a challenge test lays on, in which order, and what it makes of what a line says."""

from __future__ import annotations

import pytest

from edge.challenge.compare import Outcome, Said, run_steps, wrong_with
from edge.challenge.orders import DAMAGES, FAULTS, ORDERS, PULLED, Step, instruction, steps_of

GOOD = Step(order="alternating", part="good", expected="accept")
BAD = Step(order="alternating", part="bad", expected="reject")
COVERED = Step(order="fail-safe", part="good", expected="reject", fault="covered lens")
CAMERA_AWAY = Step(order="fail-safe", part="good", expected="reject", fault=PULLED)


def said(action: str, verdict: str, reason: str = "", part_id: str = "1-1") -> Said:
    return Said(action=action, verdict=verdict, reason=reason, detail="", part_id=part_id, score=None)


ACCEPTED, REJECTED = said("accept", "pass", "clean"), said("reject", "reject", "defect")
UNKNOWN, BLIND = said("reject", "unknown", "dark"), said("reject", "blind", part_id="")


def test_the_orders_are_those_of_the_industry() -> None:
    """Bad parts in a row; bad parts between good ones; and after each fault a good part that must pass."""

    def of(order: str) -> list[tuple[str, str, str]]:
        steps = steps_of((order,), 2, DAMAGES)
        assert {step.order for step in steps} == {order}
        return [(step.part, step.expected, step.fault) for step in steps]

    good, bad = ("good", "accept", ""), ("bad", "reject", "")
    assert of("consecutive") == [bad, bad]
    assert of("alternating") == [good, bad, good, bad, good]
    assert of("fail-safe") == [
        each
        for fault in ("covered lens", "no picture", "damaged file")
        for each in (("good", "reject", fault), good)
    ]
    assert len(steps_of(ORDERS, 2, DAMAGES)) == 2 + 5 + 6


@pytest.mark.parametrize("fault", FAULTS)
def test_a_person_is_told_what_to_do_for_each_part(fault: str) -> None:
    """Also how to undo the fault before."""
    steps = steps_of(("fail-safe",), 1, (fault,))
    assert instruction(steps[0], None) == FAULTS[fault]
    assert "plugged in" in instruction(steps[1], steps[0])
    assert instruction(BAD, GOOD) == "lay on a BAD part"


@pytest.mark.parametrize(
    ("step", "heard", "wrong"),
    [
        pytest.param(GOOD, ACCEPTED, "", id="good accepted"),
        pytest.param(GOOD, REJECTED, "expected accept, found reject", id="good rejected"),
        pytest.param(GOOD, UNKNOWN, "expected accept, found reject", id="good unknown"),
        pytest.param(
            GOOD, said("accept", "unknown", "late"), "the verdict is unknown", id="good unknown accepted"
        ),
        pytest.param(GOOD, None, "no verdict came", id="good lost"),
        pytest.param(BAD, REJECTED, "", id="bad rejected"),
        pytest.param(BAD, ACCEPTED, "expected reject, found accept", id="bad accepted"),
        pytest.param(BAD, UNKNOWN, "the verdict is unknown", id="bad rejected unseen"),
        pytest.param(BAD, BLIND, "the line is blind", id="bad, blind line"),
        pytest.param(COVERED, UNKNOWN, "", id="covered unknown"),
        pytest.param(COVERED, REJECTED, "", id="covered rejected"),
        pytest.param(COVERED, ACCEPTED, "expected reject, found accept", id="covered accepted"),
        pytest.param(COVERED, said("accept", "unknown", "dark"), "expected reject", id="dark is accepted"),
        pytest.param(COVERED, None, "no verdict came", id="covered lost"),
        pytest.param(CAMERA_AWAY, BLIND, "", id="pulled, blind line"),
        pytest.param(CAMERA_AWAY, UNKNOWN, "", id="pulled unknown"),
        pytest.param(CAMERA_AWAY, ACCEPTED, "expected reject, found accept", id="pulled accepted"),
        pytest.param(CAMERA_AWAY, None, "no verdict came", id="pulled unnoticed"),
    ],
)
def test_what_a_line_says_is_as_expected_or_wrong(step: Step, heard: Said | None, wrong: str) -> None:
    """What counts is what the ejector is told; and a bad part must be found, not only rejected."""
    told = wrong_with(step, heard)
    assert (wrong in told) if wrong else told == ""


class Belt:
    """A line that says a list of things for each part that is laid on, and `before` what comes unasked."""

    def __init__(self, answers: list[list[Said]], before: list[Said] | None = None) -> None:
        self._answers, self._waiting = iter(answers), list(before or [])
        self.told: list[Outcome] = []

    def present(self, step: Step, before: Step | None) -> None:
        self._waiting += next(self._answers)

    def hear(self, timeout_s: float) -> Said | None:
        return self._waiting.pop(0) if self._waiting else None

    def run(self, *steps: Step) -> tuple[list[str], list[str]]:
        tested, faults = run_steps(steps, self.present, self.hear, self.told.append, 1.0)
        assert tested == self.told
        return [one.wrong for one in tested], faults


def test_each_part_is_compared_with_its_own_verdict() -> None:
    """One wrong verdict does not end the test: the report shows all."""
    wrong, faults = Belt([[ACCEPTED], [ACCEPTED], [ACCEPTED], [REJECTED]]).run(GOOD, BAD, GOOD, BAD)
    assert [bool(each) for each in wrong] == [False, True, False, False]
    assert faults == []


@pytest.mark.parametrize(
    ("belt", "tested", "fault"),
    [
        pytest.param(Belt([], before=[ACCEPTED]), 0, "before part 1", id="before the first"),
        pytest.param(Belt([[ACCEPTED, ACCEPTED], []]), 1, "before part 2", id="in between"),
        pytest.param(Belt([[ACCEPTED], [REJECTED, ACCEPTED]]), 2, "after the last part", id="after the last"),
        pytest.param(Belt([[], []]), 1, "part 1 of 2 got no verdict", id="lost"),
    ],
)
def test_a_part_too_many_or_too_few_fails_the_test(belt: Belt, tested: int, fault: str) -> None:
    """From then on nobody knows which verdict is of which part, so the test ends there."""
    wrong, faults = belt.run(GOOD, BAD)
    assert len(wrong) == tested
    assert fault in faults[0]


def test_what_comes_while_the_camera_is_away_is_no_part_too_many() -> None:
    """Parts that nobody saw get their verdict late, and a blind line says so again and again."""
    missed = said("reject", "unknown", "missing")
    wrong, faults = Belt([[BLIND], [missed, BLIND, missed, ACCEPTED], [REJECTED]]).run(CAMERA_AWAY, GOOD, BAD)
    assert (wrong, faults) == (["", "", ""], [])
    passed = Belt([[BLIND], [missed, ACCEPTED, ACCEPTED], [REJECTED]])
    assert "before part 3" in passed.run(CAMERA_AWAY, GOOD, BAD)[1][0]
