"""Measures what several cameras on one line cost: throughput of all together against one, and memory.

Lines with one camera and with several see the same boards at the same rate of frames in all, slightly faster
than the engine can judge them. The throughput is the frames judged a second, of all cameras together. Both
lines run in turns, so that a machine that changes its speed does not count. The memory is that of the process
of infer, which loads each bundle once, whatever the number of cameras. Ends with one line of JSON.
Needs `pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from pipeline import _recipe as board_recipe
from pipeline import bare_loop, console
from prometheus_client import CollectorRegistry

from edge.bundle import read_bundle
from edge.demo import FOLDER as DEMO
from edge.engines.processor import name as processor_name
from edge.judges.judge import read_judges
from edge.line.plan import processes
from edge.line.supervisor import Line
from edge.messages import Broadcast, Verdict
from edge.monitoring.metrics import Metrics
from edge.recipe import Camera, Ejector, Recipe

#: Cameras stand so far apart, and the ejector behind the last, in ms.
APART_MS, EJECTOR_MS = 40.0, 1500.0
#: Sources that play files do not begin at the same moment. This share of the time between two parts, on each
#: side of a part's place, finds a look for each part all the same.
WINDOW = 0.49


def with_cameras(recipe: Recipe, count: int, fps: float) -> Recipe:
    """Return the recipe with `count` cameras along the belt, which see `fps` frames a second in all."""
    source = msgspec.structs.replace(recipe.source, fps=fps / count)
    window_ms = WINDOW * 1000 * count / fps
    cameras = tuple(
        Camera(
            name=f"camera{number}",
            at=number * APART_MS,
            window=window_ms,
            source=msgspec.structs.replace(source, camera=f"camera{number}"),
        )
        for number in range(count)
    )
    return msgspec.structs.replace(
        recipe, camera=cameras, source=cameras[0].source, ejector=Ejector(at=EJECTOR_MS)
    )


def frames_judged(verdict: Verdict) -> int:
    """Return how many frames the judges inspected for a verdict."""
    if isinstance(verdict.looks, msgspec.UnsetType):
        return int(verdict.verdict != "unknown")
    return sum(bool(look.judges) for look in verdict.looks)


def run_line(recipe: Recipe, state: Path, seconds: float) -> tuple[float, float]:
    """Run a line for so long. Return the frames judged a second, and the memory of infer in MB."""
    verdicts: list[Verdict] = []

    def hear(message: Broadcast) -> None:
        if isinstance(message, Verdict):
            verdicts.append(message)

    metrics = Metrics(CollectorRegistry(), recipe.line, recipe.timing.slots, processes(recipe))
    with Line(recipe, "0" * 64, read_judges(recipe), state=state, metrics=metrics, hear=hear) as line:
        while not verdicts or (verdicts[-1].published_ns - verdicts[0].published_ns) / 1e9 < seconds:
            line.tick()
        memory_mb = _memory_mb(line.pid("infer"))
    elapsed_s = (verdicts[-1].published_ns - verdicts[0].published_ns) / 1e9
    return sum(map(frames_judged, verdicts[1:])) / elapsed_s, memory_mb


def _memory_mb(pid: int | None) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--cameras", type=int, default=8, help="cameras of the other line (default %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of each run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each line (default %(default)s)")
    given = parser.parse_args()
    found: dict[int, list[tuple[float, float]]] = {1: [], given.cameras: []}
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as name:
        folder = Path(name)
        recipe = board_recipe(read_bundle(DEMO / "bundle"), folder, "rigid", 1)
        fps = 1.03 * bare_loop(recipe, given.seconds / 2)
        for _ in range(given.rounds):
            for count, runs in found.items():
                runs.append(run_line(with_cameras(recipe, count, fps), folder, given.seconds))
                console.print(f"{count} cameras: {runs[-1][0]:.1f} frames a second, infer {runs[-1][1]:.0f} MB")
    one, several = (_medians(runs) for runs in found.values())
    report = {
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "cameras": given.cameras,
        "asked_per_s": round(fps, 1),
        "one_per_s": round(one[0], 1),
        "several_per_s": round(several[0], 1),
        "throughput_ratio": round(several[0] / one[0], 3),
        "infer_mb_one": round(one[1]),
        "infer_mb_several": round(several[1]),
    }
    print(json.dumps(report))
    return 0


def _medians(runs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)


if __name__ == "__main__":
    sys.exit(main())
