"""Runs a line for a long time, and tells whether its memory and open files stay flat and nothing is lost.

A comparator of a few nodes judges small pictures, good and bad ones in turn, at a steady rate. Journal,
recorder and replay run beside it. Every few seconds, the memory and the open files of each process are read
from /proc. Growth is the difference of the medians of the last fifth of the run and of the second fifth; by
then, caches and allocators have settled. The slope is that of the straight line nearest to all readings after
the first fifth. A subscriber of its own counts the verdicts. Progress goes to stderr, and the run ends with one
line of JSON. Needs `pip install '.[test]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from bundles import KINDS, write_comparator
from lines import RunningLine, running, write_recipe
from numbered import EXACTLY, write_parts

from edge.engines.processor import name as processor_name
from edge.memory.ledger import Ledger

EVERY_S = 5.0
WAIT_S = 60.0


class Ear:
    """Counts verdicts on a thread: how many came, which numbers are missing, and how many were late."""

    def __init__(self, endpoint: str) -> None:
        self.numbers: set[int] = set()
        self.reasons: Counter[str] = Counter()
        self.late = 0
        self._endpoint = endpoint
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.rcvhwm = 100_000
            for topic in ("accept.", "reject."):
                socket.subscribe(topic)
            socket.connect(self._endpoint)
            while True:
                body = json.loads(socket.recv_multipart()[1])
                self.numbers.add(body["number"])
                self.reasons[body["reason"]] += 1
                self.late += body["published_ns"] >= body["deadline_ns"]

    @property
    def lost(self) -> int:
        """Verdicts that are missing before the last one that was heard."""
        return max(self.numbers, default=0) - len(self.numbers)


@dataclass(frozen=True)
class Reading:
    """The memory in MB that a process shares with nobody, and the number of its open files."""

    memory_mb: float
    files: int


def processes_of(line: RunningLine) -> dict[str, int]:
    """Return the processes of a line by name."""
    stages = line.stages()
    found = {name: int(stages[name]["pid"][0]) for name in stages}
    return {"supervisor": line.process.pid, **{name: pid for name, pid in found.items() if pid}}


def read(pid: int) -> Reading:
    """Read what a process holds now."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return Reading(int(status["RssAnon"].split()[0]) / 1024, len(os.listdir(f"/proc/{pid}/fd")))


def growth(values: Sequence[float]) -> float:
    """Return by how much the last fifth of the values is above the second fifth, by their medians."""
    fifth = max(1, len(values) // 5)
    return statistics.median(values[-fifth:]) - statistics.median(values[fifth : 2 * fifth])


def slope(values: Sequence[float], every_s: float) -> float:
    """Return by how much the values rise an hour, after the first fifth of them; 0 if there are too few."""
    settled = values[len(values) // 5 :]
    if len(settled) < 2:
        return 0.0
    return statistics.linear_regression(range(len(settled)), settled).slope * 3600 / every_s


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long it runs (default %(default)s)")
    parser.add_argument(
        "--fps", type=float, default=60.0, help="number of parts a second (default %(default)s)"
    )
    given = parser.parse_args()
    readings: dict[str, list[Reading]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiny").mkdir()
        bundle = write_comparator(folder / "tiny", KINDS)
        source = write_parts(folder, damaged_every=50) + f"\nfps = {given.fps}\nrepeat = true"
        kept = f'[journal]\nfolder = "{folder}/journal"\n[recorder]\nfolder = "{folder}/pictures"\n'
        recipe = write_recipe(folder, bundle, source, EXACTLY + "threads = 1\n" + kept)
        text = recipe.read_text().replace("[publish]\n", f'[publish]\nreplay = "ipc://{folder}/replay.ipc"\n')
        recipe.write_text(text)
        ear = Ear(f"ipc://{folder}/verdicts.ipc")
        with running(recipe) as line:
            start_s = time.monotonic()
            while time.monotonic() - start_s < WAIT_S and not ear.numbers:
                time.sleep(0.1)
            before = processes_of(line)
            ledger: Ledger = line.ledger()
            end_s = time.monotonic() + given.minutes * 60
            while time.monotonic() < end_s:
                time.sleep(min(EVERY_S, max(0.0, end_s - time.monotonic())))
                for process, pid in processes_of(line).items():
                    readings.setdefault(process, []).append(read(pid))
                memory_mb = sum(each[-1].memory_mb for each in readings.values())
                left_s = max(0.0, end_s - time.monotonic())
                print(
                    f"{len(ear.numbers)} verdicts, {ear.lost} lost, {memory_mb:.0f} MB, {left_s:.0f} s left",
                    file=sys.stderr,
                )
            after = processes_of(line)
            line.process.send_signal(signal.SIGTERM)
            line.wait()
            captured = ledger.captured
            time.sleep(1)
    print(
        json.dumps(
            {
                "cpu": processor_name(),
                "minutes": given.minutes,
                "fps": given.fps,
                "captured": captured,
                "heard": len(ear.numbers),
                "lost": ear.lost,
                "reasons": dict(ear.reasons),
                "late": ear.late,
                "restarted": sorted(name for name in before if after.get(name) != before[name]),
                "memory_mb": {name: round(each[-1].memory_mb, 1) for name, each in readings.items()},
                "memory_growth_mb": {
                    name: round(growth([one.memory_mb for one in each]), 2) for name, each in readings.items()
                },
                "memory_mb_an_hour": {
                    name: round(slope([one.memory_mb for one in each], EVERY_S), 2)
                    for name, each in readings.items()
                },
                "files_growth": {name: growth([one.files for one in each]) for name, each in readings.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
