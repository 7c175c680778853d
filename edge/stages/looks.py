"""Combines what several cameras saw of a part into one finding, and tells each look in the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from ..belt.gap import Neighbour
from ..judges.decide import Judgement
from ..judges.fuse import fuse
from ..judges.rules import Rules
from ..memory.ledger import RECORD_BYTES, Record
from ..messages import Look, Part, Refused, Unknown, UnknownReason
from .verdict import Finding, judged_by, registration_px, unknown_of

#: Most bytes of JSON that a verdict has for each look, and for each judge in it.
LOOK_BYTES, JUDGED_BYTES = 4700, 300


def record_bytes(judges: Sequence[int]) -> int:
    """Return the bytes of the longest verdict of a line with so many judges at each of its cameras."""
    return RECORD_BYTES + (0 if len(judges) == 1 else LOOK_BYTES * len(judges) + JUDGED_BYTES * sum(judges))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is known of a part at one camera: the row of its look, and what the judges found there."""

    camera: str
    part: Part | None  # None: the camera saw nothing
    finding: Finding | None  # None: nobody has answered
    refused: Refused | None = None  # why there is no finding

    @property
    def why(self) -> Refused | None:
        """Why the judges of this camera could not judge the part; None if they could."""
        if self.finding is None:
            return self.refused
        if isinstance(self.finding.reply, Unknown) or not self.finding.each:
            result = self.finding.result
            return Refused(reason=result.reason, detail=result.detail) if isinstance(result, Unknown) else None
        return None


def combined(seen: Sequence[Seen], rules: Mapping[str, Rules], unplaced: Refused | None) -> Finding:
    """Return the finding about a part that several cameras saw; the first of them made the part.

    Any judge of any camera rejects the part. A part that none rejects is `unknown` if any camera did not see it
    or could not judge it, or if `unplaced` says that nobody knows where the part is.
    """
    said: list[Judgement | Refused] = [] if unplaced is None else [unplaced]
    for one in seen:
        said += _said(one, len(rules[one.camera].judges))
    reply = seen[0].finding.reply if seen[0].finding else _no_reply(seen[0])
    together, each = fuse(said, rules[seen[0].camera].fusion)
    if unplaced is not None:
        each = each[1:]  # what the judges said
    if isinstance(together, Judgement):
        return Finding(reply=reply, result=together, each=each)
    return Finding(reply=reply, result=unknown_of(reply, together.reason, together.detail), each=each)


def _said(seen: Seen, judges: int) -> list[Judgement | Refused]:
    """Return what each judge of a camera said, with the camera's name where a judge could not say anything."""
    if (why := seen.why) is not None:
        return [Refused(reason=why.reason, detail=f"{seen.camera}: {why.detail}")] * judges
    assert seen.finding is not None
    return [_named(one, seen.camera) for one in seen.finding.each]


def _named(one: Judgement | Refused, camera: str) -> Judgement | Refused:
    """Return what a judge said, with the camera's name in its regions or in its detail."""
    if isinstance(one, Refused):
        return Refused(reason=one.reason, detail=f"{camera}: {one.detail}")
    return replace(one, regions=[msgspec.structs.replace(r, camera=camera) for r in one.regions])


def _no_reply(seen: Seen) -> Unknown:
    assert seen.part is not None
    assert seen.refused is not None
    return Unknown(part=seen.part, reason=seen.refused.reason, detail=seen.refused.detail, done_ns={})


def looks_of(seen: Sequence[Seen], rules: Mapping[str, Rules], finding: Finding) -> list[Look]:
    """Return the looks as a verdict contains them, in the order of the cameras.

    `finding` is what they give together: there is what each judge said, the last camera's judges last.
    """
    looks: list[Look] = []
    each = list(finding.each)
    for one in reversed(seen):
        count = len(rules[one.camera].judges)
        looks.append(_look(one, rules[one.camera], each[len(each) - count :]))
        del each[len(each) - count :]
    return looks[::-1]


def _look(seen: Seen, rules: Rules, each: Sequence[Judgement | Refused]) -> Look:
    part, finding, why = seen.part, seen.finding, seen.why
    reason = why.reason if why is not None else finding.result.reason if finding else "missing"
    return Look(
        camera=seen.camera,
        entry=part.entry if part else None,
        view=part.view if part else "",
        source_ref=part.source_ref if part else "",
        captured_ns=part.captured_ns if part else None,
        registration_px=registration_px(finding.reply) if finding else None,
        image=finding.reply.health if finding else None,
        reason=reason,
        judges=judged_by(each, rules) if why is None else [],
    )


def stray(part: Part, finding: Finding | None, detail: str) -> Finding:
    """Return the finding about a look that belongs to no part. One that was only counted stays `missing`."""
    reason: UnknownReason = "stray"
    if finding is not None and finding.result.reason == "missing":
        reason = "missing"
    said = Unknown(part=part, reason=reason, detail=detail, done_ns={})
    if finding is not None:
        said = unknown_of(finding.reply, reason, detail)
    return Finding(reply=said, result=said)


def too_near(finding: Finding, neighbour: Neighbour) -> Finding:
    """Return the finding about a good part that the ejector cannot part from a neighbour, which is rejected."""
    told = "is rejected" if neighbour.rejected else "is not decided"
    near = f"too near to part {neighbour.name}, which {told}"
    if not neighbour.name:
        near = "it had to be decided before it was known whether another part follows too near"
    result = finding.result
    if isinstance(result, Judgement):
        result = replace(result, verdict="reject", reason="gap")
    return replace(finding, result=result, near=near)


class _Taken(msgspec.Struct):
    camera: str
    entry: int | None


class _Looks(msgspec.Struct):
    looks: list[_Taken] = []


def taken_in(record: Record) -> dict[str, int]:
    """Return the looks that a recorded verdict names: of each camera, the number in its ledger."""
    looks = msgspec.json.decode(record.body, type=_Looks).looks
    return {look.camera: look.entry for look in looks if look.entry is not None}
