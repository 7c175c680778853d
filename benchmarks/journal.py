"""Measures what a line's journal costs, and how soon after its publication a verdict is on the disk.

The line of benchmarks/pipeline.py runs in turn without a journal and with one, `--rounds` times each. Compared
are the medians of the throughput at full load, and of the time from capture to publish without the engine's
own, at 30 boards a second. Another process reads the journal's file every 2 ms: the time from a verdict's
publication until its row is there is the lag, which a power cut may lose. The CPU time of the journal's process
and the bytes that it writes are counted for each verdict. Ends with one line of JSON. Needs
`pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sqlite3
import statistics
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
from journals import entries
from pipeline import _at, _recipe, bare_loop, console, run_line

from edge.bundle import read_bundle
from edge.demo import FOLDER as DEMO
from edge.engines.processor import name as processor_name
from edge.journal.reading import verify
from edge.journal.store import Journal, journal_path
from edge.line.supervisor import Line
from edge.recipe import JournalChoice, Recipe

POLL_S = 0.002


def watch(path: Path, ended: Any, lags: SimpleQueue[list[float]]) -> None:
    """Put the lags in ms of all rows that appear in a journal until `ended` is set."""
    found: list[float] = []
    last = 0
    while not path.exists():
        time.sleep(POLL_S)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        while not ended.is_set():
            query = "SELECT id, kind, body FROM journal WHERE id > ? ORDER BY id"
            rows = db.execute(query, (last,)).fetchall()
            now_ns = time.monotonic_ns()
            for last, kind, body in rows:  # noqa: B007
                if kind == "verdict":
                    found.append((now_ns - msgspec.json.decode(body)["published_ns"]) / 1e6)
            time.sleep(POLL_S)
    lags.put(found)


def run_once(recipe: Recipe, folder: Path, parts: int) -> dict[str, Any]:
    """Return throughput and overhead of one run, and with a journal its lags and costs."""
    used: dict[str, float] = {}

    def at(line: Line, count: int) -> None:
        if recipe.journal and count == parts and (pid := line.pid("journal")):
            process = psutil.Process(pid)
            times = process.cpu_times()
            used["cpu_us"] = (times.user + times.system) * 1e6 / parts
            used["written_kb"] = process.io_counters().write_bytes / 1e3 / parts

    verdicts = run_line(recipe, folder, parts, at)[30:]
    judged = [verdict for verdict in verdicts if verdict.verdict != "unknown"]
    beside = [(v.latency_us["total"] - v.latency_us["engine"]) / 1000 for v in judged]
    elapsed_s = (judged[-1].published_ns - judged[0].published_ns) / 1e9
    return {
        "per_s": (len(judged) - 1) / elapsed_s,
        "p50_ms": float(np.percentile(beside, 50)),
        "p99_ms": float(np.percentile(beside, 99)),
        "unknown": len(verdicts) - len(judged),
        **used,
    }


def run_watched(recipe: Recipe, folder: Path, parts: int) -> tuple[dict[str, Any], list[float]]:
    """Run once with a journal while another process watches its file. Return also the lags in ms."""
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind (default %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="seconds that each run lasts (default %(default)s)"
    )
    parser.add_argument(
        "--disk",
        type=Path,
        default=Path.home(),
        help="folder on the disk on which the journal is written (default %(default)s)",
    )
    parser.add_argument("--alone", action="store_true", help="measure commits alone, without running a line")
    given = parser.parse_args()
    if given.alone:
        commits = [alone(given.disk, verdicts, 200) for verdicts in (1, 3, 30)]
        machine = {"cpu": processor_name(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
        print(json.dumps({**machine, "commits": commits}))
        return 0
    runs: dict[str, list[dict[str, Any]]] = {"off": [], "on": []}
    paced: dict[str, list[dict[str, Any]]] = {"off": [], "on": []}
    lags: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as name,
        tempfile.TemporaryDirectory(prefix="bench-", dir=given.disk) as disk,
    ):
        recipe = _recipe(read_bundle(DEMO / "bundle"), Path(name), "rigid", 1)
        bare = bare_loop(recipe, given.seconds / 2)
        full, calm = _at(recipe, fps=bare * 1.03, deadline_ms=1000.0), _at(recipe, fps=30.0)
        for number in range(given.rounds):
            for kind in ("off", "on"):
                choice = JournalChoice(folder=f"{disk}/{number}") if kind == "on" else None
                console.print(f"round {number + 1}, {kind} …")
                loaded = msgspec.structs.replace(full, journal=choice)
                runs[kind].append(run_once(loaded, Path(name), round(bare * given.seconds)))
                parts = round(30 * given.seconds)
                quiet = msgspec.structs.replace(
                    calm, journal=choice and JournalChoice(folder=f"{disk}/{number}-paced")
                )
                if choice:
                    found, seen = run_watched(quiet, Path(name), parts)
                    lags += seen
                else:
                    found = run_once(quiet, Path(name), parts)
                paced[kind].append(found)

    def middle(found: list[dict[str, Any]], key: str, digits: int = 2) -> float:
        return round(statistics.median(each[key] for each in found), digits)

    report = {
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "rounds": given.rounds,
        **{f"per_s_{kind}": middle(runs[kind], "per_s", 1) for kind in runs},
        **{f"overhead_{p}_{kind}": middle(paced[kind], p, 3) for p in ("p50_ms", "p99_ms") for kind in paced},
        "journal_cpu_us_full": middle(runs["on"], "cpu_us", 0),
        "journal_cpu_us_at_30": middle(paced["on"], "cpu_us", 0),
        "written_kb_full": middle(runs["on"], "written_kb", 1),
        "written_kb_at_30": middle(paced["on"], "written_kb", 1),
        "lag_p50_ms": round(float(np.percentile(lags, 50)), 1),
        "lag_p99_ms": round(float(np.percentile(lags, 99)), 1),
        "lag_max_ms": round(max(lags), 1),
        "verdicts": len(lags),
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
