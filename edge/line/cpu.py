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


def take_realtime_priority(priority: int) -> None:
    """Have this process run before ordinary ones when it is due, where the system allows it (LimitRTPRIO).

    Without it a busy machine can hold up a verdict for longer than the guard before its deadline.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
