"""Kills processes of a real line at random, also its supervisor and during start-up, and counts what is lost.

A line judges 25 parts a second by the constant engine. `--kills` times, at random moments, one of its processes
or all of them are killed; a dead supervisor is restarted, as systemd would. A subscriber listens all the time.
Counted are the captured parts, those without a verdict, those that passed at or after their deadline, and the
processes left behind. Then publish and capture are killed while all is well, to measure the longest time
without a verdict after one kill, and the time to the next verdict after ten, each as soon as the stage is ready
again. Ends with one line of JSON. Needs `pip install '.[test]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import zmq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from bundles import KINDS, comparator_manifest
from lines import line_name, until, write_boards, write_recipe

from edge.bundle import write_manifest
from edge.engines.processor import name as processor_name
from edge.errors import LineError
from edge.line.run_folder import SHARED_MEMORY, ledger_path, stages_path
from edge.memory.ledger import ROWS, Ledger
from edge.memory.stages import STAGES, Stages
from edge.messages import Part, Verdict
from edge.wire import verdict_from

FPS = 25.0
ALONE = 5  # kills of publish, and of capture, while all is well
IN_A_ROW = 10


class Ear:
    """Receives verdicts on a thread, and notes when each part's first verdict came and what it was."""

    def __init__(self, endpoint: str) -> None:
        self.heard: dict[tuple[int, int], tuple[int, Verdict]] = {}
        self.last_ns = 0  # when something new was heard last
        self._endpoint = endpoint
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            for topic in ("accept.", "reject."):
                socket.subscribe(topic)
            socket.connect(self._endpoint)
            while True:
                _, body = socket.recv_multipart()
                now_ns, verdict = time.monotonic_ns(), verdict_from(body)
                if (verdict.epoch, verdict.sequence) not in self.heard:
                    self.heard[verdict.epoch, verdict.sequence] = now_ns, verdict
                    self.last_ns = now_ns

    def silence_s(self, kill_ns: int) -> float:
        """How long nothing new came after a kill, once something has: from the last before it."""
        before_ns = max(now_ns for now_ns, _ in list(self.heard.values()) if now_ns <= kill_ns)
        until(lambda: self.last_ns > kill_ns + 20_000_000, "a verdict is heard")
        times = sorted(now_ns for now_ns, _ in list(self.heard.values()) if now_ns >= before_ns)
        return max(b - a for a, b in pairwise(times)) / 1e9


class Bench:
    """A line that is restarted whenever its supervisor is dead, and the parts that its runs captured."""

    def __init__(self, folder: Path) -> None:
        self.captured: dict[tuple[int, int], Part] = {}
        self.starts = 0
        self.strays: set[int] = set()
        self._folder = SHARED_MEMORY / f"linejudge-{os.getuid()}" / line_name(folder)
        picture = np.random.default_rng(7).integers(0, 255, (16, 16)).astype(np.uint8)
        textured = np.clip(cv2.resize(picture, (64, 64), interpolation=cv2.INTER_CUBIC), 20, 180)
        source = write_boards(folder, {"0": True, "1": True}, textured) + f"\nfps = {FPS}\nrepeat = true"
        bundle = folder / "constant"
        bundle.mkdir()
        write_manifest(bundle, comparator_manifest(KINDS, name="constant", method="constant", metadata={}))
        self._recipe = write_recipe(folder, bundle, source)
        self._environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        self._ledgers: dict[str, tuple[Ledger, list[int]]] = {}  # by run, and how far each has been read
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge", "run", str(self._recipe)],
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )

    def look(self) -> None:
        """Note what has been captured; start the line anew where it has ended."""
        with suppress(OSError, LineError):
            run = (self._folder / "run").read_text()
            if run not in self._ledgers:
                self._ledgers[run] = Ledger.open(ledger_path(self._folder / run, "camera")), [0]
        for ledger, read in self._ledgers.values():
            while read[0] < ledger.captured:
                assert ledger.captured - read[0] < ROWS
                part = ledger.part(read[0])
                self.captured[part.epoch, part.sequence] = part
                read[0] += 1
        if self.process.poll() is not None:
            self.start()

    def processes(self) -> dict[str, int]:
        """Return the living processes of the line by stage, and the supervisor's."""
        found = {"supervisor": self.process.pid}
        with suppress(OSError):
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            for pid in children:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if len(command) > 5 and command[2] == b"edge.line.start":
                    found[command[4].decode()] = int(pid)
        return found

    def pid(self, stage: str) -> int | None:
        """Of a stage that is ready."""
        with suppress(OSError, LineError, KeyError):
            row = Stages.open(stages_path(self._folder / (self._folder / "run").read_text()))[stage][0]
            pid = self.processes().get(stage)
            return pid if row["ready"] and row["pid"] == pid else None
        return None

    def is_well(self, ear: Ear) -> bool:
        self.look()
        return all(map(self.pid, STAGES)) and time.monotonic_ns() - ear.last_ns < 200_000_000

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.look_at_the_end()

    def look_at_the_end(self) -> None:
        for ledger, read in self._ledgers.values():
            for entry in range(read[0], ledger.captured):
                part = ledger.part(entry)
                self.captured[part.epoch, part.sequence] = part


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def at_random(bench: Bench, ear: Ear, kills: int, rng: random.Random) -> dict[str, int]:
    """Kill at random; return how often each process was killed."""
    counts: dict[str, int] = {}
    everyone: set[int] = set()
    for _ in range(kills):
        target = rng.choice((*STAGES, "supervisor", "the whole line"))
        end, there = time.monotonic() + rng.uniform(0, 1.5), bench.processes()
        while time.monotonic() < end or (target in STAGES and target not in there):
            bench.look()
            time.sleep(0.02)
            there = bench.processes()
        everyone |= set(there.values())
        counts[target] = counts.get(target, 0) + 1
        for pid in there.values() if target == "the whole line" else [there[target]]:
            kill(pid)
    until(lambda: bench.is_well(ear), "the line is well again")
    bench.strays = {pid for pid in everyone - set(bench.processes().values()) if _is_stage(pid)}
    return counts


def _is_stage(pid: int) -> bool:
    try:
        return b"edge.line.start" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def one_and_ten(bench: Bench, ear: Ear, stage: str, kills: int) -> dict[str, float]:
    """Return the longest silence after a single kill of a stage, and after the last of ten in a row."""
    alone = []
    for _ in range(kills):
        until(lambda: bench.is_well(ear), "the line is well")
        time.sleep(1)
        kill_ns = time.monotonic_ns()
        kill(bench.processes()[stage])
        alone.append(ear.silence_s(kill_ns))
    for _ in range(IN_A_ROW):
        until(lambda: bench.look() or bench.pid(stage), f"{stage} is ready")
        kill_ns = time.monotonic_ns()
        kill(bench.processes()[stage])
    until(lambda: bench.is_well(ear), "the line is well")
    first_ns = min(now_ns for now_ns, _ in list(ear.heard.values()) if now_ns > kill_ns + 20_000_000)
    return {
        "longest_silence_s": round(max(alone), 2),
        "silence_after_ten_s": round((first_ns - kill_ns) / 1e9, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="number of random kills (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random kills (default %(default)s)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench, ear = Bench(Path(name)), Ear(f"ipc://{name}/verdicts.ipc")
        until(lambda: bench.is_well(ear), "the line is well")
        counts = at_random(bench, ear, given.kills, random.Random(given.seed))
        silences = {stage: one_and_ten(bench, ear, stage, ALONE) for stage in ("publish", "capture")}
        bench.stop()
        with suppress(AssertionError):
            until(lambda: bench.captured.keys() <= ear.heard.keys(), "all is heard", patience_s=10)
    passes = [(now_ns, verdict) for now_ns, verdict in ear.heard.values() if verdict.verdict == "pass"]
    print(
        json.dumps(
            {
                "cpu": processor_name(),
                "kills": counts,
                "starts": bench.starts,
                "captured": len(bench.captured),
                "unheard": len(bench.captured.keys() - ear.heard.keys()),
                "passed": len(passes),
                "passed_sent_late": sum(v.published_ns >= v.deadline_ns for _, v in passes),
                "passed_heard_late_ms": [
                    round((now_ns - verdict.deadline_ns) / 1e6, 1)
                    for now_ns, verdict in passes
                    if now_ns >= verdict.deadline_ns and not verdict.resent
                ],
                "passed_resent_late": sum(
                    now_ns >= verdict.deadline_ns and verdict.resent for now_ns, verdict in passes
                ),
                "processes_left": len(bench.strays),
                **silences,
            }
        )
    )


if __name__ == "__main__":
    main()
