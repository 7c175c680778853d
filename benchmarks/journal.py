"""Measures how soon after its publication a verdict is in the journal on the disk, and what its process costs.

The line of benchmarks/pipeline.py runs with a journal at 30 boards a second. Another process reads the
journal's file every 2 ms: the time from a verdict's publication until its row is there is the lag, which a
power cut may lose. The CPU time of the journal's process and the bytes that it writes are counted for each
verdict. What the journal costs the line is measured by benchmarks/records_cost.py. With
`--asked`, answers to subscribers that missed verdicts are timed instead. Ends with one line of JSON. Needs
`pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from journals import entries, verdict
from pipeline import _at, _recipe, run_line

from edge.bundle import read_bundle
from edge.demo import FOLDER as DEMO
from edge.engines.processor import name as processor_name
from edge.journal.past import past
from edge.journal.reading import verify
from edge.journal.store import Journal, journal_path
from edge.line.supervisor import Line
from edge.recipe import JournalChoice, Recipe
from edge.stages.kept import ANSWER_BYTES
from edge.wire import body_of

POLL_S = 0.002


def watch(path: Path, ended: Any, lags: SimpleQueue[list[float]]) -> None:
    """Put the lags in ms of all rows that appear in a journal until `ended` is set."""
    found: list[float] = []
    last = 0
    while not path.exists():
        time.sleep(POLL_S)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        while not db.execute("SELECT * FROM sqlite_master WHERE name = 'journal'").fetchone():
            time.sleep(POLL_S)
        while not ended.is_set():
            query = "SELECT id, kind, body FROM journal WHERE id > ? ORDER BY id"
            rows = db.execute(query, (last,)).fetchall()
            now_ns = time.monotonic_ns()
            for last, kind, body in rows:  # noqa: B007
                if kind == "verdict":
                    found.append((now_ns - msgspec.json.decode(body)["published_ns"]) / 1e6)
            time.sleep(POLL_S)
    lags.put(found)


def run_once(recipe: Recipe, folder: Path, parts: int) -> dict[str, float]:
    """Run a line with a journal; return what the journal's process needed for a verdict."""
    used: dict[str, float] = {}

    def at(line: Line, count: int) -> None:
        if count == parts and (pid := line.pid("journal")):
            process = psutil.Process(pid)
            times = process.cpu_times()
            used["cpu_us"] = round((times.user + times.system) * 1e6 / parts)
            used["written_kb"] = round(process.io_counters().write_bytes / 1e3 / parts, 1)

    run_line(recipe, folder, parts, at)
    return used


def run_watched(recipe: Recipe, folder: Path, parts: int) -> tuple[dict[str, float], list[float]]:
    """Run a line while another process watches its journal. Return also the lags in ms."""
    assert recipe.journal is not None
    path = journal_path(Path(recipe.journal.folder), recipe.line)
    context = multiprocessing.get_context("spawn")
    ended, lags = context.Event(), context.SimpleQueue()
    watcher = context.Process(target=watch, args=(path, ended, lags))
    watcher.start()
    try:
        found = run_once(recipe, folder, parts)
    finally:
        ended.set()
    seen = lags.get()
    watcher.join()
    assert verify(path).faults == []
    return found, seen


def alone(disk: Path, verdicts: int, commits: int) -> dict[str, float]:
    """Return what commits of so many verdicts cost without a line: CPU and bytes a verdict, and their time."""
    took_ms = []
    batches = [entries(range(number, number + verdicts)) for number in range(1, commits * verdicts, verdicts)]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=disk) as folder:
        with Journal(Path(folder), "caps") as journal:
            before = time.process_time()
            for batch in batches:
                start = time.perf_counter()
                journal.write(batch)
                took_ms.append((time.perf_counter() - start) * 1e3)
            cpu_us = (time.process_time() - before) * 1e6 / (commits * verdicts)
        size = journal.path.stat().st_size
    return {
        "verdicts_a_commit": verdicts,
        "cpu_us_a_verdict": round(cpu_us, 1),
        "commit_p50_ms": round(float(np.percentile(took_ms, 50)), 2),
        "commit_p99_ms": round(float(np.percentile(took_ms, 99)), 2),
        "commit_max_ms": round(max(took_ms), 1),
        "bytes_a_verdict": round(size / (commits * verdicts)),
    }


def asked(disk: Path, verdicts: int, answers: int) -> dict[str, float]:
    """Return how long answers take that subscribers get from a journal, and a commit after each answer.

    The verdicts have about 2 kB each. Cold: the file's pages are not in memory when the answer begins.
    """
    run, other, chance = "a" * 16, "b" * 16, random.Random(0)
    took_ms: dict[str, list[float]] = {"warm": [], "cold": [], "commit": []}
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=disk) as folder,
        Journal(Path(folder), "caps") as journal,
    ):
        for first in range(1, verdicts, 1000):
            found = [verdict(number) for number in range(first, first + 1000)]
            bodies = [body_of(msgspec.structs.replace(each, detail="x" * 1000)) for each in found]
            some = zip(entries(range(first, first + 1000), run), bodies, strict=True)
            journal.write([msgspec.structs.replace(each, body=body) for each, body in some])
        for number in range(1, answers + 1):
            for kind in ("warm", "cold"):
                if kind == "cold":
                    with open(journal.path, "rb") as file:
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                start = time.perf_counter()
                got = past(journal.path, run, chance.randrange(1, verdicts), None, ANSWER_BYTES)
                took_ms[kind].append((time.perf_counter() - start) * 1e3)
                assert got
                assert got.verdicts
            start = time.perf_counter()
            journal.write(entries([number], other))
            took_ms["commit"].append((time.perf_counter() - start) * 1e3)
        size_mb = journal.path.stat().st_size / 1e6
    return {
        "journal_mb": round(size_mb),
        "answers": answers,
        **{
            f"{kind}_{name}_ms": round(float(np.percentile(times, part)), 2)
            for kind, times in took_ms.items()
            for name, part in (("p50", 50), ("p99", 99), ("max", 100))
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="seconds that the line runs (default %(default)s)"
    )
    parser.add_argument(
        "--disk",
        type=Path,
        default=Path.home(),
        help="folder on the disk on which the journal is written (default %(default)s)",
    )
    parser.add_argument("--alone", action="store_true", help="measure commits alone, without running a line")
    parser.add_argument(
        "--asked",
        type=int,
        metavar="VERDICTS",
        help="measure the answers to subscribers from a journal of so many verdicts, without running a line",
    )
    given = parser.parse_args()
    machine = {"cpu": processor_name(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    if given.asked:
        print(json.dumps({**machine, **asked(given.disk, given.asked, 300)}))
        return 0
    if given.alone:
        commits = [alone(given.disk, verdicts, 200) for verdicts in (1, 3, 30)]
        print(json.dumps({**machine, "commits": commits}))
        return 0
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as name,
        tempfile.TemporaryDirectory(prefix="bench-", dir=given.disk) as disk,
    ):
        recipe = _at(_recipe(read_bundle(DEMO / "bundle"), Path(name), "rigid", 1), fps=30.0)
        recipe = msgspec.structs.replace(recipe, journal=JournalChoice(folder=disk))
        used, lags = run_watched(recipe, Path(name), round(30 * given.seconds))
    report = {
        **machine,
        **used,
        "lag_p50_ms": round(float(np.percentile(lags, 50)), 1),
        "lag_p99_ms": round(float(np.percentile(lags, 99)), 1),
        "lag_max_ms": round(max(lags), 1),
        "verdicts": len(lags),
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
