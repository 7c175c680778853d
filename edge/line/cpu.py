"""Gives an engine with fewer threads than there are cores so many cores that nothing else of the line runs on.

So the engine is never put off in the middle of a part, and no part waits for a core behind it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def engine_cores(threads: int) -> Iterator[None]:
    """Keep this thread on the engine's cores; threads that it starts meanwhile stay there for good."""
    known = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _of_engine(known, threads) or known)
    try:
        yield
    finally:
        os.sched_setaffinity(0, known)


def leave_to_engine(threads: int) -> None:
    """Keep this thread, and those that it starts from now on, off the engine's cores."""
    known = os.sched_getaffinity(0)
    os.sched_setaffinity(0, known - _of_engine(known, threads))


def _of_engine(known: set[int], threads: int) -> set[int]:
    """The last of the cores; none where the engine's threads take all of them, or as many as they like (0)."""
    return set(sorted(known)[-threads:]) if 0 < threads < len(known) else set()
