"""Measures what a line's records cost it: latency at a fixed rate, throughput at full load, and CPU time.

A line with the demonstration's model judges rendered boards, about a third of them with defects: without
records, with a journal, with a recorder, and with both, in turns, so that a machine that becomes slower
meanwhile does not count. The ledger is part of every line. The recorder copies every frame for the black box,
and writes a picture of each rejected board and of one passed board in a hundred. With --boxes, it also writes
black boxes after rejects, as many as its limit allows. With --size, boards and masters are enlarged. Each kind
is compared with `none` of the same turn, and the medians over the turns count. Ends with one line of JSON.
Needs `pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import cv2
import msgspec
import numpy as np
import psutil
from pipeline import bare_loop, run_line

from edge.demo import FOLDER as DEMO
from edge.engines import processor
from edge.line.supervisor import Line
from edge.memory.recorded import NOT_WRITTEN, Recorded
from edge.messages import Verdict
from edge.recipe import BlackBox, EngineChoice, Folder, JournalChoice, Recipe, Recorder, Timing
from edge.recipe_file import read_recipe
from edge.sources import open_source

BOARDS = 24
#: Parts at the start of a run that do not count.
WARM_UP = 30
#: Boards come faster than the engine can judge them by this factor, at full load.
FULL = 1.03
KINDS = {"none": (), "journal": ("journal",), "recorder": ("recorder",), "both": ("journal", "recorder")}


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


def with_records(recipe: Recipe, kind: str, kept: Path, boxes: bool) -> Recipe:
    """Return the recipe with the records of a kind, which are written into the folder `kept`."""
    box = BlackBox(on=("unknown", "reject", "fault") if boxes else ("fault",))
    asked = {"journal": JournalChoice(folder=str(kept)), "recorder": Recorder(folder=str(kept), box=box)}
    return msgspec.structs.replace(recipe, **{name: asked[name] for name in KINDS[kind]})


def run(recipe: Recipe, state: Path, fps: float, parts: int) -> tuple[list[Verdict], dict[str, float]]:
    """Run a line; return its last verdicts, the records' CPU time in ms a part, and files that were lost."""
    recipe = msgspec.structs.replace(
        recipe,
        source=msgspec.structs.replace(recipe.source, fps=fps),
        timing=Timing(deadline_ms=1000.0),
    )
    names = [name for name in ("journal", "recorder") if getattr(recipe, name)]
    told: dict[str, float] = {"lost": 0, **dict.fromkeys(names, 0.0)}

    def at(line: Line, count: int) -> None:
        if count in (WARM_UP, parts):
            for name in names:
                times = psutil.Process(line.pid(name)).cpu_times()
                told[name] = (times.user + times.system) * 1000 / (parts - WARM_UP) - told[name]
        if count == parts and recipe.recorder:
            counts = Recorded.open(line.folder)
            told["lost"] = sum(counts[why] for why in NOT_WRITTEN)

    return run_line(recipe, state, parts, at)[WARM_UP:], told


def latency_ms(verdicts: list[Verdict]) -> dict[str, float]:
    """Return p50 and p99 of the time from capture to publish, and the number of unknown parts."""
    taken = [each.latency_us["total"] / 1000 for each in verdicts if each.verdict != "unknown"]
    return {
        "p50_ms": float(np.percentile(taken, 50)),
        "p99_ms": float(np.percentile(taken, 99)),
        "unknown": len(verdicts) - len(taken),
    }


def per_s(verdicts: list[Verdict]) -> float:
    """Return the judged parts a second."""
    judged = [each for each in verdicts if each.verdict != "unknown"]
    return (len(judged) - 1) / ((judged[-1].published_ns - judged[0].published_ns) / 1e9)


def middle(turns: list[dict[str, dict[str, float]]], key: str, kind: str) -> float:
    """Return the median over the turns of a figure of a kind."""
    return float(np.median([turn[kind][key] for turn in turns]))


def more(turns: list[dict[str, dict[str, float]]], key: str, kind: str) -> float:
    """Return the median over the turns of the difference between a figure of a kind and of none."""
    return float(np.median([turn[kind][key] - turn["none"][key] for turn in turns]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x640", help="width and height of a frame (default %(default)s)")
    parser.add_argument("--fps", type=float, default=30.0, help="rate for the latency (default %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="seconds that each run lasts (default %(default)s)"
    )
    parser.add_argument("--boxes", action="store_true", help="write black boxes after rejects, too")
    parser.add_argument("--turns", type=int, default=3, help="runs of each kind (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the engine (default %(default)s)")
    parser.add_argument(
        "--disk", type=Path, help="a folder on the disk to write to (default: that of temporary files)"
    )
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    turns: list[dict[str, dict[str, float]]] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as name,
        tempfile.TemporaryDirectory(prefix="bench-kept-", dir=given.disk) as kept,
    ):
        folder = Path(name)
        recipe = recipe_of(folder, width, height, given.threads)
        full = FULL * bare_loop(recipe, given.seconds / 2)
        for number in range(given.turns):
            found: dict[str, dict[str, float]] = {}
            for kind in (*KINDS, *KINDS)[number % len(KINDS) :][: len(KINDS)]:
                asked = with_records(recipe, kind, Path(kept, f"{number}-{kind}"), given.boxes)
                verdicts, told = run(asked, folder, given.fps, WARM_UP + round(given.fps * given.seconds))
                found[kind] = latency_ms(verdicts) | told
                verdicts, _ = run(asked, folder, full, WARM_UP + round(full * given.seconds))
                found[kind]["per_s"] = per_s(verdicts)
                print(f"{kind}: {found[kind]}", file=sys.stderr)
            turns.append(found)
    report = {
        "cpu": processor.name(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "size": given.size,
        "fps": given.fps,
        "engine_threads": given.threads,
        "boxes": given.boxes,
        "turns": given.turns,
        "per_s": {kind: round(middle(turns, "per_s", kind), 1) for kind in KINDS},
        "throughput_ratio": {
            kind: round(1 + more(turns, "per_s", kind) / middle(turns, "per_s", "none"), 3) for kind in KINDS
        },
        "latency_p50_ms": {kind: round(middle(turns, "p50_ms", kind), 2) for kind in KINDS},
        "latency_p99_ms": {kind: round(middle(turns, "p99_ms", kind), 2) for kind in KINDS},
        "latency_p50_more_ms": {kind: round(more(turns, "p50_ms", kind), 2) for kind in KINDS},
        "latency_p99_more_ms": {kind: round(more(turns, "p99_ms", kind), 2) for kind in KINDS},
        "unknown": {kind: sum(turn[kind]["unknown"] for turn in turns) for kind in KINDS},
        "cpu_ms_a_part": {name: round(middle(turns, name, "both"), 2) for name in ("journal", "recorder")},
        "lost": sum(turn[kind]["lost"] for turn in turns for kind in KINDS),
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
