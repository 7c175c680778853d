"""The engine's cores: what is loaded on them stays there, and everything else keeps off."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lines import UNHURRIED, Subscriber, running, until, write_recipe

import edge.demo
from edge.line.cpu import end_idle_priority, engine_cores, leave_to_engine

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
    more = f"[engine]\nthreads = 1\n{UNHURRIED}"
    recipe = write_recipe(tmp_path, edge.demo.FOLDER / "bundle", source, more)
    recipe.write_text(recipe.read_text().replace(f'masters = "{tmp_path}/masters/{{view}}.png"\n', ""))
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(lambda: len(subscriber.verdicts) >= 3, "boards are judged", line)
    assert {verdict.verdict for _, verdict in subscriber.verdicts} <= {"pass", "reject"}


#: Starts a thread after it has taken the idle priority, says so, and sleeps.
SLOWED = """
import os, sys, threading, time
from edge.line.cpu import take_idle_priority
if sys.argv[1:]:
    os.setuid(65534)
take_idle_priority()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("slowed", flush=True)
time.sleep(60)
"""


@contextmanager
def slowed(*words: str) -> Iterator[int]:
    """This program as a process; its id."""
    process = subprocess.Popen([sys.executable, "-c", SLOWED, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == "slowed\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def all_have(pid: int, policy: int) -> Callable[[], bool]:
    return lambda: {os.sched_getscheduler(int(name)) for name in os.listdir(f"/proc/{pid}/task")} == {policy}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, or LimitNICE=+0")
def test_a_spare_gets_out_of_the_way_and_takes_over_with_all_its_threads() -> None:
    """An engine whose threads stayed behind at idle priority would never be done on a busy machine."""
    with slowed() as pid:
        assert all_have(pid, os.SCHED_IDLE)()
        end_idle_priority(pid)
        assert all_have(pid, os.SCHED_OTHER)()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_spare_that_could_not_return_keeps_its_priority() -> None:
    """It loads as any other program where the system would never let it leave the idle priority."""
    with slowed("as nobody") as pid:
        # The thread that tried it may still be ending.
        until(all_have(pid, os.SCHED_OTHER), "it has its priority")
