"""Reserves CPU cores for the engine, and gives the processes of a line real-time priority.

An engine with fewer threads than there are cores gets one core for each thread. The line's other threads run on
the remaining cores. So no other work interrupts an inference, and no other work waits for an inference to end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def engine_cores(threads: int) -> Iterator[None]:
    """Inside `with`, keep this thread on the cores reserved for an engine of `threads` threads.

    Threads started inside `with` stay on these cores for good. If no core can be reserved, all cores are used.
    """
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _of_engine(allowed, threads) or allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def leave_to_engine(threads: int) -> None:
    """Keep this thread, and threads that it starts later, off the cores of an engine of `threads` threads."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed - _of_engine(allowed, threads))


def _of_engine(allowed: set[int], threads: int) -> set[int]:
    """Return the last `threads` cores of `allowed`. Empty if `threads` is 0 or no other core would be left."""
    return set(sorted(allowed)[-threads:]) if 0 < threads < len(allowed) else set()


def take_realtime_priority(priority: int) -> None:
    """Give this process the real-time priority `priority` (SCHED_FIFO), if the system's LimitRTPRIO allows it.

    Without real-time priority, other programs on a busy machine can delay a verdict past its deadline.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
