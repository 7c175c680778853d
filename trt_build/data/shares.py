"""Splits a data set by the names in it, so that what is added later moves nothing from one share to another."""

from __future__ import annotations

import hashlib


def share_of(name: str, seed: int) -> float:
    """Return where a name falls between 0 and 1, as if by chance; it depends on name and seed alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
