"""Measures what a line costs beside its engine: throughput, latency and memory, compared with a bare loop.

The bare loop keeps all lanes of the engine in use with inputs in memory. The line gets the same boards as files
in shared memory, so that the disk does not count, and does everything that a line does: capture, registration,
inference, decision, publication. Throughput is the parts judged a second when boards come slightly faster than
the engine can judge them; by default the engine leaves one core to the line. The overhead is the time from
capture to publish without the engine's own, at 30 boards a second. Memory is what all processes of the line use
after 10,000 parts, compared with 1,000. Ends with one line of JSON. Needs `pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import psutil
from prometheus_client import CollectorRegistry
from rich.console import Console

from edge.bundle import Bundle, read_bundle
from edge.demo import FOLDER as DEMO
from edge.engines import open_engine
from edge.engines.base import Sample
from edge.judges.judge import read_judges
from edge.line.plan import processes
from edge.line.supervisor import Line
from edge.messages import Heartbeat, Verdict
from edge.monitoring.metrics import Metrics
from edge.recipe import EngineChoice, Folder, Recipe, Register, Timing
from edge.recipe_file import read_recipe
from edge.sources import open_source

BOARDS = 24
#: Verdicts that are kept of a run, the last ones.
KEPT = 600
console = Console(stderr=True)


def bare_loop(recipe: Recipe, seconds: float) -> float:
    """Return the inferences a second of the engine alone, with all lanes in use."""
    (judge,) = read_judges(recipe)
    masters = judge.masters()
    assert masters is not None
    view = judge.views()[0]
    with open_engine(recipe.engine, judge.bundle) as engine:
        reference = engine.reference(masters.get(view).input)
        inputs = [masters.get(view).input.copy() for _ in range(engine.lanes)]
        for lane in range(engine.lanes):
            engine.submit(lane, [Sample(inputs[lane], reference)])
        done, warm, lane, start = 0, 20, 0, 0.0
        while not start or time.perf_counter() - start < seconds:
            engine.collect(lane)[0]
            engine.submit(lane, [Sample(inputs[lane], reference)])
            lane = (lane + 1) % engine.lanes
            done += 1
            if done == warm:
                start = time.perf_counter()
        elapsed = time.perf_counter() - start
        for _ in range(engine.lanes):
            engine.collect(lane)[0]
            lane = (lane + 1) % engine.lanes
    return (done - warm) / elapsed


def run_line(recipe: Recipe, state: Path, parts: int, at: Callable[[Line, int], None]) -> list[Verdict]:
    """Run a line until it has published `parts` verdicts; `at` is called with their number as they come."""
    verdicts: deque[Verdict] = deque(maxlen=KEPT)  # so that the memory of this program does not count
    heard = 0

    def hear(message: Verdict | Heartbeat) -> None:
        nonlocal heard
        if isinstance(message, Verdict):
            heard += 1
            assert message.sequence == heard, "a part has no verdict, or two"
            verdicts.append(message)
            at(line, heard)

    metrics = Metrics(CollectorRegistry(), recipe.line, recipe.timing.slots, processes(recipe))
    with Line(recipe, "0" * 64, read_judges(recipe), state=state, metrics=metrics, hear=hear) as line:
        while heard < parts:
            line.tick()
    return list(verdicts)


def resident_mb() -> float:
    """Return the memory in MB of this process and its children; shared memory counts once."""
    processes = [psutil.Process(), *psutil.Process().children()]
    infos = [process.memory_info() for process in processes]
    return sum(info.rss - info.shared for info in infos) / 1e6


def throughput(recipe: Recipe, state: Path, bare: float, seconds: float) -> dict[str, float]:
    recipe = _at(recipe, fps=bare * 1.03, deadline_ms=1000.0)
    verdicts = run_line(recipe, state, round(bare * seconds), lambda line, count: None)
    judged = [verdict for verdict in verdicts if verdict.verdict != "unknown"]
    elapsed_s = (judged[-1].published_ns - judged[0].published_ns) / 1e9
    return {"line_per_s": (len(judged) - 1) / elapsed_s, "unknown": len(verdicts) - len(judged)}


def overhead(recipe: Recipe, state: Path, parts: int) -> dict[str, Any]:
    verdicts = run_line(_at(recipe, fps=30.0), state, parts, lambda line, count: None)[30:]
    judged = [verdict.latency_us for verdict in verdicts if verdict.verdict != "unknown"]
    beside_ms = [(latency["total"] - latency["engine"]) / 1000 for latency in judged]
    stages = {
        stage: round(float(np.median([latency[stage] for latency in judged])) / 1000, 3)
        for stage in ("capture", "preprocess", "infer", "publish", "engine", "total")
    }
    return {
        "overhead_p50_ms": round(float(np.percentile(beside_ms, 50)), 3),
        "overhead_p99_ms": round(float(np.percentile(beside_ms, 99)), 3),
        "stage_p50_ms": stages,
        "unknown_at_30_fps": len(verdicts) - len(judged),
    }


def memory(recipe: Recipe, state: Path, parts: int, bare: float) -> dict[str, float]:
    held: dict[int, float] = {}

    def at(line: Line, count: int) -> None:
        if count in (parts // 10, parts):
            held[count] = resident_mb()

    run_line(_at(recipe, fps=bare * 0.8, deadline_ms=1000.0), state, parts, at)
    return {
        "rss_mb": round(held[parts], 2),
        "rss_growth_mb": round(held[parts] - held[parts // 10], 2),
        "rss_parts": parts,
    }


def _at(recipe: Recipe, *, fps: float, deadline_ms: float = 200.0) -> Recipe:
    timing = Timing(deadline_ms=deadline_ms, slots=recipe.timing.slots)
    source = msgspec.structs.replace(recipe.source, fps=fps)
    return msgspec.structs.replace(recipe, source=source, timing=timing)


def _recipe(bundle: Bundle, folder: Path, motion: str, threads: int) -> Recipe:
    """Return a line's recipe for rendered boards of one design, written as uncompressed files."""
    demo, _ = read_recipe(DEMO / "recipe.toml")
    view = next(iter(bundle.manifest.masters))
    frame = np.zeros(demo.source.shape, np.uint8)
    source = msgspec.structs.replace(demo.source, fps=10000.0, parts=BOARDS * 8)
    written = 0
    with open_source(source) as boards:
        while written < BOARDS:
            trigger = boards.wait(10.0)
            assert trigger is not None
            boards.read(frame)
            if trigger.view == view:
                cv2.imwrite(str(folder / f"{written:03d}.{view}.pgm"), frame)
                written += 1
    preprocess = msgspec.structs.replace(demo.preprocess, register=Register(motion=motion))
    return msgspec.structs.replace(
        demo,
        line=f"bench-{os.getpid()}",
        bundle=str(bundle.folder),
        source=Folder(
            files=f"{folder}/*.{{view}}.pgm", width=frame.shape[1], height=frame.shape[0], fps=30.0, repeat=True
        ),
        preprocess=preprocess,
        engine=EngineChoice(threads=threads),
        publish=msgspec.structs.replace(demo.publish, endpoints=(f"ipc://{folder}/verdicts.ipc",)),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts",
        type=int,
        default=10_000,
        help="parts after which the memory is measured (default %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=20.0,
        help="seconds that each throughput run lasts (default %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="threads of the engine; 0: every core, so that the line has none of its own",
    )
    parser.add_argument(
        "--motion",
        choices=("none", "shift", "rigid"),
        default="rigid",
        help="how parts may lie to their master (default %(default)s)",
    )
    given = parser.parse_args()
    bundle = read_bundle(DEMO / "bundle")
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as name:
        folder = Path(name)
        recipe = _recipe(bundle, folder, given.motion, given.threads)
        console.print("bare loop …")
        before = bare_loop(recipe, given.seconds / 2)
        console.print(f"{before:.1f} a second; line …")
        through = throughput(recipe, folder, before, given.seconds)
        console.print(f"{through['line_per_s']:.1f} a second; bare loop again …")
        after = bare_loop(recipe, given.seconds / 2)
        console.print(f"{after:.1f} a second; latency at 30 a second …")
        late = overhead(recipe, folder, 630)
        console.print(f"{late['overhead_p50_ms']} ms beside the engine; memory …")
        bare = (before + after) / 2
        held = memory(recipe, folder, given.parts, min(before, after))
    report = {
        "motion": given.motion,
        "engine_threads": given.threads,
        "bare_per_s": round(bare, 1),
        "line_per_s": round(through["line_per_s"], 1),
        "unknown_at_full_load": through["unknown"],
        "throughput_ratio": round(through["line_per_s"] / bare, 3),
        **late,
        **held,
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
