"""The engine's cores: what is loaded on them stays there, and everything else keeps off."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from edge.line.cpu import engine_cores, leave_to_engine

KNOWN = sorted(os.sched_getaffinity(0))
several = pytest.mark.skipif(len(KNOWN) < 2, reason="one core cannot be shared out")


def in_a_thread(do: Callable[[], None]) -> None:
    """Run in a thread of its own, which takes its cores with it when it ends."""
    thread = threading.Thread(target=do)
    thread.start()
    thread.join()


@several
def test_what_an_engine_starts_stays_on_its_cores_and_the_line_keeps_off() -> None:
    """An engine of one thread is never put off by the rest of the line."""
    seen: dict[str, set[int]] = {}
    told = threading.Event()

    def engine() -> None:
        told.wait(10)
        seen["engine"] = os.sched_getaffinity(0)

    def stage() -> None:
        worker = threading.Thread(target=engine)
        with engine_cores(1):
            seen["loading"] = os.sched_getaffinity(0)
            worker.start()
        leave_to_engine(1)
        seen["stage"] = os.sched_getaffinity(0)
        told.set()
        worker.join()

    in_a_thread(stage)
    assert seen == {"loading": {KNOWN[-1]}, "engine": {KNOWN[-1]}, "stage": set(KNOWN[:-1])}


@pytest.mark.parametrize("threads", [0, len(KNOWN), len(KNOWN) + 1])
def test_an_engine_that_may_use_every_core_shares_them(threads: int) -> None:
    """Nothing is left without a core to run on."""
    seen: list[set[int]] = []

    def stage() -> None:
        with engine_cores(threads):
            seen.append(os.sched_getaffinity(0))
        leave_to_engine(threads)
        seen.append(os.sched_getaffinity(0))

    in_a_thread(stage)
    assert seen == [set(KNOWN), set(KNOWN)]
