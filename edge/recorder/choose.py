"""Decides of which parts a picture is kept, and what the picture's file is called."""

from __future__ import annotations

import hashlib

from ..messages import Verdict

#: The end of the names of pictures of passed parts, which are kept for a shorter time than the others.
PASS_END = "_pass_clean.png"


def is_wanted(verdict: Verdict, passes: float) -> bool:
    """Return whether a picture of the part is kept: of each that did not pass, and of a share of the others.

    `passes` is this share, from 0 to 1. A hash of line and part_id chooses, so the choice can be repeated.
    """
    if verdict.verdict != "pass":
        return True
    digest = hashlib.sha256(f"{verdict.line} {verdict.part_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < passes * 2**64


def picture_name(verdict: Verdict, camera: str) -> str:
    """Return the path of a part's picture: the day (UTC), then part_id, camera, verdict and reason."""
    end = PASS_END if verdict.verdict == "pass" else f"_{verdict.verdict}_{verdict.reason}.png"
    return f"{verdict.captured_at[:10]}/{verdict.part_id}_{camera}{end}"
