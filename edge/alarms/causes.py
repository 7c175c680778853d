"""Decides what rejected parts point to: the product, the camera or lamp, or the line itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..messages import Cause

#: Reasons that name the cause by themselves.
_OF_CAMERA = {"frame", "dark", "frozen", "missing"}
_OF_LINE = {"engine", "score", "overrun", "overwritten", "lost", "late"}
#: Reasons that a part of another kind and a camera that was knocked have in common.
_OF_EITHER = {"view", "registration", "stray"}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known when parts are rejected."""

    reasons: Mapping[str, int]  # of the last parts that were not accepted: how many for each reason
    compared: bool  # whether the last pictures could be compared with what was learnt
    moved: Sequence[str] = ()  # what of the pictures has moved, for people


def cause_of(evidence: Evidence) -> tuple[Cause, str]:
    """Return what the evidence points to, and a sentence about it for people.

    A reason that most of the parts have decides if it names its cause. Otherwise, a picture that has moved
    points to the camera or lamp, since bad parts do not change focus, exposure and place of all parts. Only if
    the pictures are as they were learnt does it point to the product.
    """
    most = max(evidence.reasons, key=lambda reason: evidence.reasons[reason], default="")
    if most in _OF_CAMERA:
        return "camera", f"most are unknown for the reason {most}: look at camera and lamp"
    if most in _OF_LINE:
        return "line", f"most are unknown for the reason {most}: look at the log of the line"
    if evidence.moved:
        return "camera", f"{'; '.join(evidence.moved)}: look at camera, lens, lamp and fixture first"
    if most in _OF_EITHER:
        return "unclear", f"most are unknown for the reason {most}: another product, or the camera was knocked"
    if not evidence.compared:
        return "unclear", "how pictures are normally has not been learnt yet: look at product and camera"
    return "product", "focus, exposure and place of the parts are as learnt: look at the product"
