"""Reserves CPU cores for the engine, and gives the processes of a line real-time priority.

An engine with fewer threads than there are cores gets one core for each thread. The line's other threads run on
the remaining cores. So no other work interrupts an inference, and no other work waits for an inference to end.
"""

from __future__ import annotations

import os
import threading
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


def take_idle_priority() -> None:
    """Let this process run only while no other wants the processor, if it may leave this state again.

    Threads that it starts inherit this. Does nothing where the system does not let it return, which needs
    LimitNICE=+0 (RLIMIT_NICE of 20).
    """
    if _can_return():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _can_return() -> bool:
    """Return whether a thread may leave the idle priority. Tries it with a thread of its own."""
    tried: list[bool] = []

    def attempt() -> None:
        try:
            # On Linux this concerns the calling thread alone.
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            tried.append(True)
        except PermissionError:
            tried.append(False)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return tried[0]


def end_idle_priority(pid: int) -> None:
    """Give all threads of a process that `take_idle_priority` slowed down the ordinary priority again."""
    # A thread that is still idle may start another one meanwhile.
    while idle := [thread for thread in _threads(pid) if _is_idle(thread)]:
        for thread in idle:
            with suppress(ProcessLookupError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []


def _is_idle(thread: int) -> bool:
    try:
        return os.sched_getscheduler(thread) == os.SCHED_IDLE
    except ProcessLookupError:
        return False
