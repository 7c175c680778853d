"""Decides of which parts a picture is kept."""

from __future__ import annotations

import hashlib

from ..messages import Verdict


def is_wanted(verdict: Verdict, passes: float) -> bool:
    """Return whether a picture of the part is kept: of each that did not pass, and of a share of the others.

    `passes` is this share, from 0 to 1. A hash of line and part_id chooses, so the choice can be repeated.
    """
    if verdict.verdict != "pass":
        return True
    digest = hashlib.sha256(f"{verdict.line} {verdict.part_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < passes * 2**64
