"""Compares what a line said about each part of a challenge test with what was expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from ..messages import Heartbeat, Verdict
from .orders import PULLED, Expected, Step

#: After the last part, no other part may come for this time.
QUIET_S = 2.0


class Said(Struct, frozen=True, kw_only=True):
    """What a line said: a verdict, or a heartbeat that says that it is blind (no part_id then)."""

    action: Expected  # of a verdict, by its topic
    verdict: str
    reason: str
    detail: str
    part_id: str
    score: float | None


class Outcome(Struct, frozen=True, kw_only=True):
    """One part of a test: what was expected, what the line said, and what is wrong with that."""

    step: Step
    said: Said | None  # None: nothing
    wrong: str  # empty: it is as expected


#: Returns the next thing that the line says, or None if that takes longer than so many seconds.
Hear = Callable[[float], "Said | None"]


def said_of(verdict: Verdict, topic: bytes) -> Said:
    """Return what a verdict says. Its topic tells what the ejector does."""
    return Said(
        action="accept" if topic.startswith(b"accept.") else "reject",
        verdict=verdict.verdict,
        reason=verdict.reason,
        detail=verdict.detail,
        part_id=verdict.part_id,
        score=verdict.score,
    )


def blind(heartbeat: Heartbeat) -> Said:
    """Return what the heartbeat of a blind line says: whatever comes now, it is not accepted."""
    return Said(action="reject", verdict="blind", reason="", detail=heartbeat.reason, part_id="", score=None)


def wrong_with(step: Step, said: Said | None) -> str:
    """Return what is wrong with what a line said about the part of a step. Empty if it is as expected.

    A bad part has to be judged as bad: one that is rejected because it is `unknown` does not show that the line
    finds the defect. A part that the line cannot see must be rejected for any reason.
    """
    if said is None:
        return "no verdict came"
    if said.action != step.expected:
        return f"expected {step.expected}, found {said.action} ({said.verdict}, {said.reason})"
    if said.verdict == "blind":
        return "" if step.fault == PULLED else f"the line is blind: {said.detail}"
    wanted = {"pass"} if step.expected == "accept" else {"unknown", "reject"} if step.fault else {"reject"}
    if said.verdict in wanted:
        return ""
    return f"{step.expected}ed, but the verdict is {said.verdict} ({said.reason}): {said.detail}".rstrip(": ")


def run_steps(
    steps: Sequence[Step],
    present: Callable[[Step, Step | None], None],
    hear: Hear,
    tell: Callable[[Outcome], None],
    patience_s: float,
) -> tuple[list[Outcome], list[str]]:
    """Present each part and compare what the line says. Return what was found, and other faults of the test.

    A part that nobody asked for is a fault, because every later verdict could then be of another part. So is a
    part without a verdict. Both end the test. `tell` is called after each part.
    """
    tested: list[Outcome] = []
    before: Step | None = None
    for number, step in enumerate(steps, 1):
        if (stray := _verdict(hear, 0.0, before)) is not None:
            return tested, [f"before part {number}, a part came that was not asked for: {stray.part_id}"]
        present(step, before)
        said = _verdict(hear, patience_s, before, or_blind=step.fault == PULLED)
        one = Outcome(step=step, said=said, wrong=wrong_with(step, said))
        tested.append(one)
        tell(one)
        if said is None:
            return tested, [f"part {number} of {len(steps)} got no verdict, and the test ended there"]
        before = step
    if (stray := _verdict(hear, QUIET_S, before)) is not None:
        return tested, [f"after the last part, a part came that was not asked for: {stray.part_id}"]
    return tested, []


def _verdict(hear: Hear, timeout_s: float, before: Step | None, *, or_blind: bool = False) -> Said | None:
    """Return the next verdict, or that the line is blind if that counts. None if none comes in time.

    After a pulled camera, parts that nobody saw may get their verdict: they are unknown, and are passed over.
    """
    while (said := hear(timeout_s)) is not None:
        if said.verdict == "blind":
            if or_blind:
                return said
        elif not (before and before.fault == PULLED and said.verdict == "unknown"):
            return said
    return None
