"""Compares what a line said about each part of a challenge test with what was expected."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

from ..messages import Heartbeat, Verdict
from .orders import PULLED, Expected, Step

#: After the last part on a belt, no other part may come for this time.
QUIET_S = 2.0


class Said(Struct, frozen=True, kw_only=True):
    """What a line said: a verdict, or a heartbeat that says that it is blind (no part_id then)."""

    action: Expected  # of a verdict, by its topic
    verdict: str
    reason: str
    detail: str
    part_id: str
    score: float | None
    pictures: tuple[str, ...] = ()  # by the source's names: what the cameras saw of the part


class Outcome(Struct, frozen=True, kw_only=True):
    """One part of a test: what was expected, what the line said, and what is wrong with that."""

    step: Step
    said: Said | None  # None: nothing
    wrong: str  # empty: it is as expected


#: Returns the next thing that the line says, or None if that takes longer than so many seconds.
Hear = Callable[[float], "Said | None"]


def said_of(verdict: Verdict, topic: bytes) -> Said:
    """Return what a verdict says. Its topic tells what the ejector does."""
    looks = verdict.looks or []
    seen = [look.source_ref for look in looks if look.entry is not None] or [verdict.source_ref]
    return Said(
        action="accept" if topic.startswith(b"accept.") else "reject",
        verdict=verdict.verdict,
        reason=verdict.reason,
        detail=verdict.detail,
        part_id=verdict.part_id,
        score=verdict.score,
        pictures=tuple(seen),
    )


def blind(heartbeat: Heartbeat) -> Said:
    """Return what the heartbeat of a blind line says: whatever comes now, it is not accepted."""
    return Said(action="reject", verdict="blind", reason="", detail=heartbeat.reason, part_id="", score=None)


def wrong_with(step: Step, said: Said | None) -> str:
    """Return what is wrong with what a line said about the part of a step. Empty if it is as expected.

    A bad part has to be judged as bad: one that is rejected because it is `unknown` does not show that the line
    finds the defect. A part that the line cannot see must be rejected for any reason. One that a single one of
    several cameras did not see must be `unknown` for this reason.
    """
    if said is None:
        return "no verdict came"
    if said.action != step.expected:
        return f"expected {step.expected}, found {said.action} ({said.verdict}, {said.reason})"
    if said.verdict == "blind":
        return "" if step.is_away else f"the line is blind: {said.detail}"
    wanted = {"pass"} if step.expected == "accept" else {"unknown", "reject"} if step.fault else {"reject"}
    is_missing = said.verdict == "unknown" and said.reason in ("missing", "stray")
    if said.verdict in wanted and (is_missing or step.is_away or step.fault != PULLED):
        return ""
    return f"{step.expected}ed, but the verdict is {said.verdict} ({said.reason}): {said.detail}".rstrip(": ")


def outcome(step: Step, pictures: Collection[str], heard: Sequence[Said]) -> Outcome:
    """Return what a line said about the part of a step in one verdict or several, and what is wrong with that.

    `pictures` are those that were presented; none if the part was on a belt. If the first camera has no picture
    of a part, the pictures of the others are strays with a verdict each. Else one verdict is of all of them.
    """
    said = next((one for one in heard if one.action != step.expected), heard[0] if heard else None)
    wrong = wrong_with(step, said)
    seen = {picture for one in heard for picture in one.pictures}
    if not wrong and pictures and seen != set(pictures):
        wrong = f"the verdict is of {', '.join(sorted(seen))}, not of {', '.join(sorted(pictures))}"
    if not wrong and len(heard) > 1 and step.fault != PULLED:
        wrong = "its pictures were not taken for one part: the machine was too busy: repeat the test"
    return Outcome(step=step, said=said, wrong=wrong)


def run_steps(
    steps: Sequence[Step],
    present: Callable[[Step, Step | None], Collection[str]],
    hear: Hear,
    tell: Callable[[Outcome], None],
    patience_s: float,
) -> tuple[list[Outcome], list[str]]:
    """Present each part and compare what the line says. Return what was found, and other faults of the test.

    `present` returns the names of the pictures that it has presented, none if the part is on a belt. A part
    that nobody asked for is a fault, because every later verdict could then be of another part. So is a part
    without a verdict. Both end the test. `tell` is called after each part.
    """
    tested: list[Outcome] = []
    before: Step | None = None
    pictures: Collection[str] = ()
    for number, step in enumerate(steps, 1):
        if (stray := _verdict(hear, 0.0, before)) is not None:
            return tested, [f"before part {number}, a part came that was not asked for: {stray.part_id}"]
        pictures = present(step, before)
        heard = _verdicts(hear, patience_s, step, before, pictures)
        one = outcome(step, pictures, heard)
        tested.append(one)
        tell(one)
        if not heard:
            return tested, [f"part {number} of {len(steps)} got no verdict, and the test ended there"]
        before = step
    # No other pictures come to a line of the test's own.
    quiet_s = 0.0 if pictures else QUIET_S
    if (stray := _verdict(hear, quiet_s, before)) is not None:
        return tested, [f"after the last part, a part came that was not asked for: {stray.part_id}"]
    return tested, []


def _verdicts(
    hear: Hear, timeout_s: float, step: Step, before: Step | None, pictures: Collection[str]
) -> list[Said]:
    """Return the next verdict, and the ones after it until each picture is in one, or none comes in time."""
    heard: list[Said] = []
    left = set(pictures)
    while not heard or left:
        if (said := _verdict(hear, timeout_s, before, or_blind=step.is_away)) is None:
            break
        heard.append(said)
        left.difference_update(said.pictures)
    return heard


def _verdict(hear: Hear, timeout_s: float, before: Step | None, *, or_blind: bool = False) -> Said | None:
    """Return the next verdict, or that the line is blind if that counts. None if none comes in time.

    After the only camera was away, parts that nobody saw may get their verdict: they are unknown, and are
    passed over.
    """
    while (said := hear(timeout_s)) is not None:
        if said.verdict == "blind":
            if or_blind:
                return said
        elif not (before and before.is_away and said.verdict == "unknown"):
            return said
    return None
