"""Makes a part's verdict from the judges' outputs, or from the reason why a stage could not judge the part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard, Union

import msgspec
from msgspec import UNSET, UnsetType

from ..errors import PartError, SlotOverwritten
from ..judges.decide import Judgement, decide
from ..judges.fuse import fuse
from ..judges.rules import Rules
from ..memory.ledger import RECORD_BYTES, Record
from ..memory.ring import Ring, as_outputs
from ..memory.stages import STAGES
from ..messages import (
    Input,
    Judged,
    Look,
    Part,
    Prediction,
    Refused,
    Region,
    Sent,
    Unknown,
    UnknownReason,
    Verdict,
    utc,
)
from ..text import DETAIL_BYTES, fitted
from ..wire import action_topic, body_of
from .inbox import is_sound
from .loop import refuse

#: What a stage sends to publish about a part.
Reply = Union[Prediction, Unknown]  # noqa: UP007  (as messages.py has it)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The facts about a line that its verdicts contain, and the reasons for which it accepts unknown parts."""

    line: str
    run: str  # the run's number in hexadecimal
    recipe: str  # SHA-256 of the recipe file
    bundle: str  # SHA-256 of the bundle's manifest; of several bundles, SHA-256 of their digests
    accepted: frozenset[str]  # reasons for which an unknown part is accepted


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is known about a part before its verdict is made: the reply, and the results of the judges."""

    reply: Reply
    result: Judgement | Unknown
    each: Sequence[Judgement | Refused] = ()  # the result of each judge; empty if no judge ran
    near: str = ""  # for people: the rejected part to which a good part is too near


@dataclass(frozen=True, kw_only=True)
class OnBelt:
    """What a verdict says of the belt. A verdict of a line without cameras on a belt has only the deadline."""

    deadline_ns: int
    looks: list[Look] | UnsetType = UNSET
    eject_at_ns: int | UnsetType | None = UNSET
    tick: int | UnsetType | None = UNSET


def is_reply(message: Sent, judges: int) -> TypeGuard[Reply]:
    """Return whether the message is a valid `Prediction` for this number of judges, or a valid `Unknown`."""
    if isinstance(message, Prediction):
        return len(message.inputs) == judges and is_sound(message)
    return isinstance(message, Unknown) and is_sound(message)


def finding_of(reply: Reply, ring: Ring, rules: Rules) -> Finding:
    """Judge the part that a reply is about, by the rules. A `Prediction` has its outputs in the part's slot."""
    if isinstance(reply, Unknown):
        return Finding(reply=reply, result=reply)
    judged: list[Judgement | Refused] = []
    for number, (input_, rule) in enumerate(zip(reply.inputs, rules.judges, strict=True)):
        if isinstance(input_, Refused):
            judged.append(input_)
            continue
        try:
            with ring.area(reply.part, "outputs", number) as area:
                outputs = as_outputs(area, rules.outputs[number])
                judged.append(decide(outputs, input_.to_frame, rule))
        except PartError as error:
            judged.append(Refused(reason=error.reason, detail=str(error)))
        except SlotOverwritten as error:
            return Finding(reply=reply, result=refuse(reply, error))
    together, each = fuse(judged, rules.fusion)
    if isinstance(together, Judgement):
        return Finding(reply=reply, result=together, each=each)
    return Finding(reply=reply, result=unknown_of(reply, together.reason, together.detail), each=each)


def late(part: Part, detail: str) -> Finding:
    """Return the finding about a part for which no reply came in time. `detail` explains this to people."""
    unknown = Unknown(part=part, reason="late", detail=detail, done_ns={})
    return Finding(reply=unknown, result=unknown)


def lost(part: Part) -> Finding:
    """Return the finding about a part that was lost with the process that had it."""
    detail = "a process of the line ended before it had answered about the part"
    unknown = Unknown(part=part, reason="lost", detail=detail, done_ns={})
    return Finding(reply=unknown, result=unknown)


def missing(part: Part) -> Finding:
    """Return the finding about a part that its source counted and nobody saw."""
    detail = f"its source counted it as trigger {part.count}, and nobody saw it"
    unknown = Unknown(part=part, reason="missing", detail=detail, done_ns={})
    return Finding(reply=unknown, result=unknown)


def held(finding: Finding, why: str) -> Finding:
    """Return the finding about a part of a line that is held: it is `unknown`, whatever the judges said.

    What each judge said stays in the finding, and in the verdict's `judges`.
    """
    found = finding.result
    said = f"score {found.score:g}" if isinstance(found, Judgement) else found.detail
    detail = f"the line is held: {why}; the judges said {found.reason}, {said}"
    return replace(finding, result=unknown_of(finding.reply, "hold", detail))


def record_of(
    finding: Finding,
    rules: Rules,
    identity: Identity,
    now_ns: int,
    number: int,
    belt: OnBelt | None = None,
    most_bytes: int = RECORD_BYTES,
) -> Record:
    """Return a part's verdict, to be sent at `now_ns` as the verdict with this `number` of the run.

    Its reason is `late` if the part's deadline has come. `belt` is what it says of the belt; without it, the
    deadline is the part's own.

    A verdict that is too long for the ledger keeps only the masks of its strongest regions or, if that does not
    suffice, only its strongest regions.
    """
    reply, result, part = finding.reply, finding.result, finding.reply.part
    belt = belt or OnBelt(deadline_ns=part.deadline_ns)
    if now_ns >= belt.deadline_ns:
        result = _too_late(reply, result, now_ns - belt.deadline_ns)
    judged = result if isinstance(result, Judgement) else None
    verdict = Verdict(
        line=identity.line,
        run=identity.run,
        number=number,
        part_id=part.part_id,
        epoch=part.epoch,
        sequence=part.sequence,
        camera=part.camera,
        view=part.view,
        source_ref=part.source_ref,
        skipped=part.skipped,
        verdict=judged.verdict if judged else "unknown",
        reason=result.reason,
        detail=fitted(_detail(finding, result), DETAIL_BYTES),
        score=judged.score if judged else None,
        threshold=judged.threshold if judged else None,
        p_value=_four_digits(judged.p_value) if judged else None,
        judges=judged_by(finding.each, rules) if belt.looks is UNSET else [],
        regions=judged.regions if judged else [],
        captured_at=utc(part.captured_at_ns),
        captured_ns=part.captured_ns,
        published_ns=now_ns,
        deadline_ns=belt.deadline_ns,
        latency_us=_latencies_us(reply, now_ns),
        registration_px=_worst_px(reply, belt.looks),
        recipe=identity.recipe,
        bundle=identity.bundle,
        image=reply.health,
        looks=belt.looks,
        eject_at_ns=belt.eject_at_ns,
        tick=belt.tick,
    )
    topic = action_topic(identity.line, accept=is_accepted(finding, result, identity))
    body, regions = body_of(verdict), verdict.regions
    # A verdict without regions always fits, because each of its other fields has a limit.
    while len(topic) + 1 + len(body) > most_bytes and regions:
        regions = _shorter(regions)
        body = body_of(msgspec.structs.replace(verdict, regions=regions))
    return Record(topic=topic, body=body, reason=verdict.reason, published_ns=now_ns, number=number)


def _detail(finding: Finding, result: Judgement | Unknown) -> str:
    """Return what a verdict tells people beside its reason."""
    told = [result.detail if isinstance(result, Unknown) else "", finding.near]
    return "; ".join(filter(None, told))


def _shorter(regions: Sequence[Region]) -> list[Region]:
    """Return the regions without the weaker half of their masks or, if they have none, the stronger half."""
    masked = [i for i, region in enumerate(regions) if region.mask is not None]
    if not masked:
        return list(regions[: len(regions) // 2])
    shorter = list(regions)
    for i in masked[len(masked) // 2 :]:
        shorter[i] = msgspec.structs.replace(regions[i], mask=None)
    return shorter


def is_accepted(finding: Finding, result: Judgement | Unknown, identity: Identity) -> bool:
    """Return whether the part may pass: its verdict is `pass`, or the recipe accepts each reason for `unknown`.

    A part that any judge rejects is never accepted, even if its `result` became `late`.
    """
    if finding.near:
        return False
    if isinstance(result, Judgement):
        return result.verdict == "pass"
    if isinstance(finding.result, Judgement) and finding.result.verdict == "reject":
        return False
    refused = {one.reason for one in finding.each if isinstance(one, Refused)}
    return {result.reason, *refused} <= identity.accepted


def _too_late(reply: Reply, result: Judgement | Unknown, late_ns: int) -> Unknown:
    """Return the result `late` for a part. Its detail quotes the result that came after the deadline.

    A part that nobody saw stays `missing`, since its deadline is mostly past when it is known of.
    """
    if isinstance(result, Unknown) and result.reason in ("late", "hold", "missing"):
        return result
    late_ms = late_ns / 1e6
    told = f"score {result.score:g}" if isinstance(result, Judgement) else result.detail
    return unknown_of(reply, "late", f"said {late_ms:.1f} ms after the deadline: {result.reason}, {told}")


def unknown_of(reply: Reply, reason: UnknownReason, detail: str) -> Unknown:
    """Return that the part of a reply cannot be judged, with the times of the reply."""
    return Unknown(part=reply.part, reason=reason, detail=detail, health=reply.health, done_ns=reply.done_ns)


def judged_by(each: Sequence[Judgement | Refused], rules: Rules) -> list[Judged]:
    """Return each judge's result in the form that a verdict contains; an empty list if no judge ran."""
    if not each:
        return []
    return [
        Judged(
            name=rule.name,
            verdict=one.verdict if isinstance(one, Judgement) else "unknown",
            reason=one.reason,
            score=one.score if isinstance(one, Judgement) else None,
            threshold=one.threshold if isinstance(one, Judgement) else min(rule.thresholds.values()),
            p_value=_four_digits(one.p_value) if isinstance(one, Judgement) else None,
            bundle=rule.bundle,
        )
        for one, rule in zip(each, rules.judges, strict=True)
    ]


def _four_digits(p_value: float | None) -> float | None:
    return None if p_value is None else float(f"{p_value:.4g}")


def _worst_px(reply: Reply, looks: list[Look] | UnsetType) -> float | None:
    """Return the largest registration error of a part in pixels, over all looks if it has several."""
    found = [registration_px(reply)] if looks is UNSET else [look.registration_px for look in looks]
    return max((px for px in found if px is not None), default=None)


def registration_px(reply: Reply) -> float | None:
    """Return the largest registration error of all judges in pixels, or None if no judge aligned the part."""
    inputs = reply.inputs if isinstance(reply, Prediction) else ()
    found = [input_.registration_px for input_ in inputs if isinstance(input_, Input)]
    return max((px for px in found if px is not None), default=None)


def _latencies_us(reply: Reply, now_ns: int) -> dict[str, int]:
    """Return the microseconds that the part spent in each stage, waiting included, and their sum as `total`.

    For a predicted part, `engine` is the time in the engines. It is a part of the time in infer.
    """
    start_us, found = 0, {}
    done = {stage: reply.done_ns[stage] for stage in STAGES if stage in reply.done_ns}
    for stage, done_ns in (*sorted(done.items(), key=lambda item: item[1]), ("publish", now_ns)):
        end_us = (done_ns - reply.part.captured_ns) // 1000
        found[stage], start_us = end_us - start_us, end_us
    if isinstance(reply, Prediction):
        found["engine"] = reply.engine_ns // 1000
    found["total"] = start_us
    return found
