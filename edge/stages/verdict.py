"""The making of a verdict: what the judges' outputs, or a stage's refusal, say of one part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeGuard, Union

import msgspec

from ..errors import PartError, SlotOverwritten
from ..judges.decide import Judgement, Rule, decide
from ..judges.fuse import fuse
from ..judges.rules import Rules
from ..memory.ledger import RECORD_BYTES, STAGES
from ..memory.ring import Ring, as_outputs
from ..messages import Judged, Laid, Message, Prediction, Refused, Unknown, Verdict
from ..text import DETAIL_BYTES, fitted
from ..wire import action_topic, verdict_bytes, verdict_from
from .inbox import are_finite
from .loop import refuse

Said = Union[Prediction, Unknown]  # noqa: UP007  (as messages.py has it)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What every verdict of this line says of the line."""

    line: str
    recipe: str
    bundle: str
    accepted: frozenset[str]  # reasons for which an unknown part is let through


@dataclass(frozen=True)
class Answer:
    """What is to be said of a part, and what each judge made of it, where they were asked."""

    said: Judgement | Unknown
    each: Sequence[Judgement | Refused] = ()


def is_said(message: Message, judges: int) -> TypeGuard[Said]:
    """Whether it is something that may be said of a part that so many judges look at."""
    if isinstance(message, Prediction):
        return len(message.inputs) == judges and are_finite(message.inputs)
    return isinstance(message, Unknown)


def answer_of(message: Prediction, ring: Ring, rules: Rules) -> Answer:
    """What the judges' outputs, which lie in the part's slot, say of the part."""
    said: list[Judgement | Refused] = []
    for number, (input_, rule) in enumerate(zip(message.inputs, rules.judges, strict=True)):
        if isinstance(input_, Refused):
            said.append(input_)
            continue
        try:
            with ring.area(message.part, "outputs", number) as area:
                outputs = as_outputs(area, rules.outputs[number])
                said.append(decide(outputs, input_.to_frame, rule))
        except PartError as error:
            said.append(Refused(reason=error.reason, detail=str(error)))
        except SlotOverwritten as error:
            return Answer(refuse(message, error))
    together, each = fuse(said, rules.fusion)
    if isinstance(together, Judgement):
        return Answer(together, each)
    unknown = Unknown(
        part=message.part, reason=together.reason, detail=together.detail, done_ns=message.done_ns
    )
    return Answer(unknown, each)


def record_of(message: Said, answer: Answer, rules: Rules, identity: Identity, now_ns: int) -> bytes:
    """The part's verdict as `topic \\n body`, which fits the ledger's record; `late` from its deadline on."""
    part, said = message.part, answer.said
    if now_ns >= part.deadline_ns:
        said = _too_late(message, said, now_ns)
    judged = said if isinstance(said, Judgement) else None
    verdict = Verdict(
        line=identity.line,
        part_id=part.part_id,
        epoch=part.epoch,
        sequence=part.sequence,
        camera=part.camera,
        view=part.view,
        source_ref=part.source_ref,
        skipped=part.skipped,
        verdict=judged.verdict if judged else "unknown",
        reason=said.reason,
        detail=fitted(said.detail, DETAIL_BYTES) if isinstance(said, Unknown) else "",
        score=judged.score if judged else None,
        threshold=judged.threshold if judged else None,
        p_value=_told(judged.p_value) if judged else None,
        judges=[_judged(one, rule) for one, rule in zip(answer.each, rules.judges, strict=False)],
        regions=judged.regions if judged else [],
        captured_at=utc(part.captured_at_ns),
        captured_ns=part.captured_ns,
        published_ns=now_ns,
        deadline_ns=part.deadline_ns,
        latency_us=_latencies(message, now_ns),
        registration_px=_registration_px(message),
        recipe=identity.recipe,
        bundle=identity.bundle,
    )
    reasons = {said.reason} | {one.reason for one in answer.each if isinstance(one, Refused)}
    rejected = isinstance(answer.said, Judgement) and answer.said.verdict == "reject"
    accept = verdict.verdict == "pass" or (not judged and not rejected and reasons <= identity.accepted)
    head = action_topic(identity.line, accept=accept) + b"\n"
    while len(body := verdict_bytes(verdict)) + len(head) > RECORD_BYTES and verdict.regions:
        verdict = msgspec.structs.replace(verdict, regions=verdict.regions[: len(verdict.regions) // 2])
    return head + body


def resent(record: bytes) -> bytes:
    """A record as it is sent once more."""
    head, _, body = record.partition(b"\n")
    return head + b"\n" + verdict_bytes(msgspec.structs.replace(verdict_from(body), resent=True))


def _too_late(message: Said, said: Judgement | Unknown, now_ns: int) -> Unknown:
    """What is left to say of a part whose deadline has come; what was said of it stands in the detail."""
    if isinstance(said, Unknown) and said.reason == "late":
        return said
    late_ms = (now_ns - message.part.deadline_ns) / 1e6
    told = f"score {said.score:g}" if isinstance(said, Judgement) else said.detail
    detail = f"said {late_ms:.1f} ms after the deadline: {said.reason}, {told}"
    return Unknown(part=message.part, reason="late", detail=detail, done_ns=message.done_ns)


def _judged(one: Judgement | Refused, rule: Rule) -> Judged:
    judged = one if isinstance(one, Judgement) else None
    return Judged(
        name=rule.name,
        verdict=judged.verdict if judged else "unknown",
        reason=one.reason,
        score=judged.score if judged else None,
        threshold=judged.threshold if judged else min(rule.thresholds.values()),
        p_value=_told(judged.p_value) if judged else None,
        bundle=rule.bundle,
    )


def _told(p_value: float | None) -> float | None:
    """To four digits."""
    return None if p_value is None else float(f"{p_value:.4g}")


def _registration_px(message: Said) -> float | None:
    """The worst of any judge's; None where the part was laid onto no master."""
    inputs = message.inputs if isinstance(message, Prediction) else ()
    found = [input_.registration_px for input_ in inputs if isinstance(input_, Laid)]
    return max((px for px in found if px is not None), default=None)


def _latencies(message: Said, now_ns: int) -> dict[str, int]:
    """Microseconds in each stage, waiting for it included; they add up to `total`."""
    start, found = message.part.captured_ns, {}
    done = {stage: message.done_ns[stage] for stage in STAGES if stage in message.done_ns}
    for stage, done_ns in sorted(done.items(), key=lambda item: item[1]):
        found[stage] = (done_ns - message.part.captured_ns) // 1000 - (start - message.part.captured_ns) // 1000
        start = done_ns
    found["publish"] = (now_ns - message.part.captured_ns) // 1000 - (start - message.part.captured_ns) // 1000
    if isinstance(message, Prediction):
        found["engine"] = message.engine_ns // 1000
    found["total"] = (now_ns - message.part.captured_ns) // 1000
    return found


def utc(ns: int) -> str:
    """The wall clock as ISO 8601 in UTC."""
    stamp = datetime.fromtimestamp(ns // 1_000_000_000, timezone.utc)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{ns // 1000 % 1_000_000:06d}Z"
