"""Compares a verdict of a line with the one that was computed again from the same frame."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UnsetType

from ..messages import Look, Verdict

#: Reasons that came from the time or the state of the line, and not from the frame.
NOT_OF_THE_FRAME = frozenset(
    {
        "frame",
        "frozen",
        "engine",
        "overrun",
        "overwritten",
        "lost",
        "missing",
        "stray",
        "hold",
        "gap",
        "position",
    }
)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A part that was replayed: the fields in which its verdict differs, each with the value then and now.

    `left_out` says why the part could not be compared; it is empty if it was.
    """

    number: int
    part_id: str
    left_out: str = ""
    differences: dict[str, tuple[Any, Any]] = field(default_factory=dict)


def why_left_out(verdict: Verdict, framed: Collection[str]) -> str:
    """Return why a verdict cannot be computed from the frames again; empty if it can.

    `framed` are the cameras of which there is a frame. What a camera behind the first one could not show, such
    as a look that is missing, is taken from the verdict.
    """
    if verdict.reason in NOT_OF_THE_FRAME:
        return verdict.reason
    if verdict.reason == "late" and not {"preprocess", "infer"} & verdict.latency_us.keys():
        return "late"
    needed = [verdict.camera]
    if not isinstance(verdict.looks, UnsetType):
        first, *_ = verdict.looks
        if not is_of_the_frame(first):
            return first.reason
        needed = [look.camera for look in verdict.looks if is_of_the_frame(look)]
    return "" if set(needed) <= set(framed) else "no frame"


def is_of_the_frame(look: Look) -> bool:
    """Return whether what is said about a look follows from its frame."""
    return look.entry is not None and look.reason not in NOT_OF_THE_FRAME | {"late"}


def differences(then: Verdict, now: Verdict) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two verdicts differ, each with both values as JSON has them.

    Numbers are equal only if all their bits are. `detail` is left out: it is for people, and may name folders.
    So is how often a camera repeated the picture: it depends on the frames before.
    """
    if then.image and now.image:
        image = msgspec.structs.replace(now.image, repeats=then.image.repeats)
        now = msgspec.structs.replace(now, image=image)
    before = msgspec.to_builtins(msgspec.structs.replace(then, detail=""))
    after = msgspec.to_builtins(msgspec.structs.replace(now, detail=""))
    names = dict.fromkeys([*before, *after])
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def done_ns_of(verdict: Verdict) -> dict[str, int]:
    """Return when each stage was done with the part, as its verdict tells it, in ns of the monotonic clock.

    With these times, the same verdict comes out to the last byte.
    """
    at_ns, done_ns = verdict.captured_ns, {}
    for stage, spent_us in verdict.latency_us.items():
        if stage not in ("publish", "engine", "total"):
            at_ns += spent_us * 1000
            done_ns[stage] = at_ns
    return done_ns
