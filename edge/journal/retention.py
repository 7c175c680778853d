"""Decides how many of a journal's oldest rows are deleted because they are too old or too many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

#: Most rows that are deleted in one commit, so that new verdicts do not wait for it.
CHUNK = 1000


def surplus(times: Sequence[str], oldest: str, *, too_large: bool) -> int:
    """Return how many of the oldest rows to delete.

    `times` are the times of the oldest rows in their order, at most CHUNK of them and never the newest row.
    Rows before the time `oldest` are too old. If the file is too large, all of these rows go.
    """
    return len(times) if too_large else sum(1 for _ in takewhile(lambda at: at < oldest, times))
