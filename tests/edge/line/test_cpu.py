"""The engine's cores: what is loaded on them stays there, and everything else keeps off."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from lines import Subscriber, running, until, write_recipe

import edge.demo
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


@several
def test_a_line_whose_engine_has_a_core_of_its_own_judges(tmp_path: Path) -> None:
    """With real-time priority, no library of another process waits for a thread on the same core."""
    source = 'kind = "synthetic"\nwidth = 640\nheight = 640\nfps = 5'
    more = "[engine]\nthreads = 1\n[timing]\ndeadline_ms = 5000\n"
    recipe = write_recipe(tmp_path, edge.demo.FOLDER / "bundle", source, more)
    recipe.write_text(recipe.read_text().replace(f'masters = "{tmp_path}/masters/{{view}}.png"\n', ""))
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(lambda: len(subscriber.verdicts) >= 3, "boards are judged", line)
    assert {verdict.verdict for _, verdict in subscriber.verdicts} <= {"pass", "reject"}
