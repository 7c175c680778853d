"""Splits data sets by the names of their items, so that no item changes its list when items are added."""

from __future__ import annotations

import hashlib


def share_of(name: str, seed: int) -> float:
    """Return a number from 0 to 1 that looks random but depends only on the name and the seed."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
