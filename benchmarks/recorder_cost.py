"""Measures what the recorder costs a line: latency at a fixed rate, throughput at full load, and its CPU time.

A line with the demonstration's model judges rendered boards, about a third of them with defects, with and
without a recorder in turns, so that a machine that becomes slower meanwhile does not count. The recorder copies
every frame, and writes a picture of each rejected board and of one passed board in a hundred. With --boxes, it
also writes black boxes after rejects, as many as its limit allows. With --size, boards and masters are
enlarged. Ends with one line of JSON. Needs `pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import psutil
from pipeline import run_line

from edge.demo import FOLDER as DEMO
from edge.engines import processor
from edge.line.supervisor import Line
from edge.memory.recorded import Recorded
from edge.messages import Verdict
from edge.recipe import BlackBox, EngineChoice, Folder, Recipe, Recorder, Timing
from edge.recipe_file import read_recipe
from edge.sources import open_source

BOARDS = 24
#: Parts at the start of a run that do not count.
WARM_UP = 30
#: Seconds of a run at full load.
FULL_S = 8


def recipe_of(folder: Path, width: int, height: int, threads: int) -> Recipe:
    """Return the recipe of a line on boards of this size, which are written as uncompressed files."""
    demo, _ = read_recipe(DEMO / "recipe.toml")
    source = msgspec.structs.replace(demo.source, fps=10000.0, parts=BOARDS)
    frame = np.zeros(source.shape, np.uint8)
    for name in ("boards", "masters"):
        (folder / name).mkdir()
    with open_source(source) as boards:
        for number in range(BOARDS):
            trigger = boards.wait(10.0)
            assert trigger is not None
            boards.read(frame)
            large = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
            cv2.imwrite(str(folder / f"boards/{number:03d}.{trigger.view}.pgm"), large)
    for path in (DEMO / "bundle/master").glob("*.png"):
        large = cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (width, height))
        cv2.imwrite(str(folder / f"masters/{path.name}"), large)
    return msgspec.structs.replace(
        demo,
        line=f"bench-{os.getpid()}",
        bundle=str(DEMO / "bundle"),
        masters=f"{folder}/masters/{{view}}.png",
        source=Folder(
            files=f"{folder}/boards/*.{{view}}.pgm", width=width, height=height, fps=20.0, repeat=True
        ),
        engine=EngineChoice(threads=threads),
        publish=msgspec.structs.replace(demo.publish, endpoints=(f"ipc://{folder}/verdicts.ipc",)),
    )


def run(recipe: Recipe, folder: Path, fps: float, parts: int) -> tuple[list[Verdict], dict[str, float]]:
    """Run a line; return its last verdicts, and the recorder's CPU time in ms for a part and its counts."""
    recipe = msgspec.structs.replace(
        recipe,
        source=msgspec.structs.replace(recipe.source, fps=fps),
        timing=Timing(deadline_ms=1000.0),
    )
    told: dict[str, float] = {}

    def at(line: Line, count: int) -> None:
        if recipe.recorder and count in (WARM_UP, parts):
            used = psutil.Process(line.pid("recorder")).cpu_times()
            told[f"cpu_s_{count}"] = used.user + used.system
            told.update(Recorded.open(line.folder).all())

    verdicts = run_line(recipe, folder, parts, at)
    if recipe.recorder:
        used_s = told.pop(f"cpu_s_{parts}") - told.pop(f"cpu_s_{WARM_UP}")
        told["cpu_ms_a_part"] = used_s * 1000 / (parts - WARM_UP)
    return verdicts[WARM_UP:], told


def latency_ms(verdicts: list[Verdict]) -> list[float]:
    """Return the p50 and p99 of the time from capture to publish, and the number of unknown parts."""
    taken = [each.latency_us["total"] / 1000 for each in verdicts if each.verdict != "unknown"]
    return [float(np.percentile(taken, 50)), float(np.percentile(taken, 99)), len(verdicts) - len(taken)]


def per_s(verdicts: list[Verdict]) -> float:
    """Return the judged parts a second."""
    judged = [each for each in verdicts if each.verdict != "unknown"]
    return (len(judged) - 1) / ((judged[-1].published_ns - judged[0].published_ns) / 1e9)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x640", help="width and height of a frame (default %(default)s)")
    parser.add_argument("--fps", type=float, default=20.0, help="rate for the latency (default %(default)s)")
    parser.add_argument("--full", type=float, default=100.0, help="rate that is too high (default %(default)s)")
    parser.add_argument("--parts", type=int, default=330, help="parts of each run (default %(default)s)")
    parser.add_argument("--boxes", action="store_true", help="write black boxes after rejects, too")
    parser.add_argument("--turns", type=int, default=3, help="runs with and without (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the engine (default %(default)s)")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    found: dict[str, list[Any]] = {"latency_off": [], "latency_on": [], "per_s_off": [], "per_s_on": []}
    recorded: list[dict[str, float]] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as name,
        tempfile.TemporaryDirectory(prefix="bench-kept-") as kept,
    ):
        folder = Path(name)
        off = recipe_of(folder, width, height, given.threads)
        box = BlackBox(on=("unknown", "reject", "fault")) if given.boxes else BlackBox()
        on = msgspec.structs.replace(off, recorder=Recorder(folder=kept, box=box))
        for turn in range(given.turns):
            for word, recipe in (("off", off), ("on", on)) if turn % 2 == 0 else (("on", on), ("off", off)):
                verdicts, told = run(recipe, folder, given.fps, given.parts)
                found[f"latency_{word}"].append(latency_ms(verdicts))
                verdicts, _ = run(recipe, folder, given.full, round(given.full * FULL_S))
                found[f"per_s_{word}"].append(per_s(verdicts))
                if told:
                    recorded.append(told)
                print(
                    f"{word}: {found[f'latency_{word}'][-1]}, {found[f'per_s_{word}'][-1]:.1f}", file=sys.stderr
                )
    middle = {word: np.median(found[f"latency_{word}"], axis=0) for word in ("off", "on")}
    rates = {word: float(np.median(found[f"per_s_{word}"])) for word in ("off", "on")}
    report = {
        "size": given.size,
        "fps": given.fps,
        "engine_threads": given.threads,
        "turns": given.turns,
        "latency_p50_ms": {word: round(middle[word][0], 2) for word in middle},
        "latency_p99_ms": {word: round(middle[word][1], 2) for word in middle},
        "unknown": {word: sum(each[2] for each in found[f"latency_{word}"]) for word in middle},
        "per_s": {word: round(rate, 1) for word, rate in rates.items()},
        "throughput_ratio": round(rates["on"] / rates["off"], 3),
        "recorder_cpu_ms_a_part": round(float(np.median([one["cpu_ms_a_part"] for one in recorded])), 3),
        "recorded": recorded[-1],
        "cpu": processor.name(),
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
