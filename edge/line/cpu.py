"""Reserves CPU cores for the engine, and gives the processes of a line real-time priority.

An engine with fewer threads than there are cores is pinned to as many cores, and the line's other threads are
kept off them. So no other work interrupts an inference, and no other work waits behind one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def engine_cores(threads: int) -> Iterator[None]:
    """Pin this thread to the engine's cores; threads that it starts in the block stay there for good."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _of_engine(allowed, threads) or allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def leave_to_engine(threads: int) -> None:
    """Keep this thread off the engine's cores, and all threads that it starts from now on."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed - _of_engine(allowed, threads))


def _of_engine(allowed: set[int], threads: int) -> set[int]:
    """Return the last `threads` cores; none where the engine uses all of them, or any number (0)."""
    return set(sorted(allowed)[-threads:]) if 0 < threads < len(allowed) else set()


def take_realtime_priority(priority: int) -> None:
    """Give this process real-time priority (SCHED_FIFO), where the system allows it (LimitRTPRIO).

    Without it a busy machine can delay a verdict by more than the guard time before its deadline.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
