"""Which parts a challenge test lays on, in which order, and what it makes of what a line says."""

from __future__ import annotations

import pytest

from edge.challenge.compare import Outcome, Said, outcome, run_steps, wrong_with
from edge.challenge.orders import DAMAGES, FAULTS, ORDERS, PULLED, Step, instruction, steps_of

GOOD = Step(order="alternating", part="good", expected="accept")
BAD = Step(order="alternating", part="bad", expected="reject")
COVERED = Step(order="fail-safe", part="good", expected="reject", fault="covered lens")
CAMERA_AWAY = Step(order="fail-safe", part="good", expected="reject", fault=PULLED)
ONE_AWAY = Step(order="fail-safe", part="good", expected="reject", fault=PULLED, camera="side")
ONE_COVERED = Step(order="fail-safe", part="good", expected="reject", fault="covered lens", camera="side")


def said(
    action: str, verdict: str, reason: str = "", part_id: str = "1-1", pictures: tuple[str, ...] = ()
) -> Said:
    return Said(
        action=action,
        verdict=verdict,
        reason=reason,
        detail="",
        part_id=part_id,
        score=None,
        pictures=pictures,
    )


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
    steps = steps_of(("fail-safe",), 2, ("covered lens", PULLED), ("top", "side"))
    assert [(step.fault, step.camera) for step in steps if step.expected == "reject"] == [
        ("covered lens", "top"), ("covered lens", "side"), (PULLED, "top"), (PULLED, "side")
    ]  # fmt: skip


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
        pytest.param(ONE_AWAY, said("reject", "unknown", "missing"), "", id="one pulled, missing"),
        pytest.param(ONE_AWAY, said("reject", "unknown", "stray"), "", id="first pulled, strays"),
        pytest.param(ONE_AWAY, UNKNOWN, "the verdict is unknown (dark)", id="one pulled, otherwise unknown"),
        pytest.param(ONE_AWAY, REJECTED, "the verdict is reject", id="one pulled, judged"),
        pytest.param(ONE_AWAY, BLIND, "the line is blind", id="one pulled, blind line"),
        pytest.param(
            ONE_AWAY, said("accept", "unknown", "missing"), "expected reject", id="a missing look is accepted"
        ),
    ],
)
def test_what_a_line_says_is_as_expected_or_wrong(step: Step, heard: Said | None, wrong: str) -> None:
    """What counts is what the ejector is told; and a bad part must be found, not only rejected."""
    told = wrong_with(step, heard)
    assert (wrong in told) if wrong else told == ""


@pytest.mark.parametrize(
    ("step", "pictures", "heard", "wrong"),
    [
        pytest.param(GOOD, "ts", [("accept", "pass", "", "ts")], "", id="both looks in one verdict"),
        pytest.param(GOOD, "ts", [("accept", "pass", "", "tx")], "is of t, x, not of s, t", id="other"),
        pytest.param(GOOD, "ts", [("accept", "pass", "", "t")], "is of t, not of s, t", id="a look left out"),
        pytest.param(
            ONE_COVERED,
            "ts",
            [("reject", "unknown", "missing", "t"), ("reject", "unknown", "stray", "s")],
            "not taken for one part",
            id="looks that came apart",
        ),
        pytest.param(
            ONE_AWAY,
            "su",
            [("reject", "unknown", "stray", "s"), ("reject", "unknown", "stray", "u")],
            "",
            id="strays of the other cameras",
        ),
        pytest.param(
            ONE_AWAY,
            "su",
            [("reject", "unknown", "stray", "s"), ("accept", "unknown", "stray", "u")],
            "expected reject, found accept",
            id="one stray is accepted",
        ),
        pytest.param(ONE_AWAY, "su", [("reject", "unknown", "stray", "s")], "of s, not of s, u", id="lost"),
        pytest.param(GOOD, "", [("accept", "pass", "", "x")], "", id="on the belt"),
        pytest.param(GOOD, "ts", [], "no verdict came", id="nothing"),
    ],
)
def test_a_verdict_has_to_be_of_the_pictures_that_were_presented(
    step: Step, pictures: str, heard: list[tuple[str, str, str, str]], wrong: str
) -> None:
    """Of all of them in one verdict, unless the first camera did not see the part."""
    verdicts = [said(action, verdict, reason, pictures=tuple(seen)) for action, verdict, reason, seen in heard]
    told = outcome(step, list(pictures), verdicts).wrong
    assert (wrong in told) if wrong else told == ""


class Belt:
    """A line that says a list of things for each part that is laid on, and `before` what comes unasked."""

    def __init__(self, answers: list[list[Said]], before: list[Said] | None = None) -> None:
        self._answers, self._waiting = iter(answers), list(before or [])
        self.told: list[Outcome] = []

    def present(self, step: Step, before: Step | None) -> tuple[str, ...]:
        shown = next(self._answers)
        self._waiting += shown
        # Those of a step are in its verdicts. On a belt nobody knows them.
        return tuple(picture for one in shown for picture in one.pictures)

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


def test_a_part_that_the_first_camera_missed_takes_as_many_verdicts_as_it_has_looks() -> None:
    """The next part is presented after the last of them."""
    strays = [said("reject", "unknown", "stray", pictures=(name,)) for name in ("s", "u")]
    good = said("accept", "pass", "clean", pictures=("t", "s2", "u2"))
    assert Belt([strays, [good]]).run(ONE_AWAY, GOOD) == (["", ""], [])
