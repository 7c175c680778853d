"""Lines as tests run them: a recipe on disk, `edge run` as a process, and a subscriber of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import msgspec
import numpy as np

from edge import subscriber
from edge.errors import LineError
from edge.line.run_folder import SHARED_MEMORY, ledger_path, stages_path
from edge.memory.ledger import Ledger
from edge.memory.stages import Stages
from edge.messages import Alarm, Verdict

PATIENCE_S = 60.0
#: For the recipe of a line that has to judge all parts: enough time and slots, also on a slow machine.
UNHURRIED = "[timing]\ndeadline_ms = 30000\nslots = 64\n"


def line_name(folder: Path) -> str:
    """What the line of a recipe in this folder is called."""
    return f"t{abs(hash(str(folder))) % 10**9}"


def write_recipe(folder: Path, bundle: Path | None, source: str, more: str = "") -> Path:
    """A recipe in `folder` that publishes on an ipc socket there; its line's name is unique to the folder.

    A comparator's masters are those that `write_boards` wrote. Without a bundle, what is `more` has [[judge]]
    sections.
    """
    name = line_name(folder)
    path = folder / "recipe.toml"
    model = f'bundle = "{bundle}"\n' if bundle else ""
    if bundle and json.loads((bundle / "manifest.json").read_text())["method"] == "comparator":
        model += f'masters = "{folder}/masters/{{view}}.png"\n'
    path.write_text(
        f'line = "{name}"\n{model}'
        f"[source]\n{source}\n"
        f'[publish]\nendpoints = ["ipc://{folder}/verdicts.ipc"]\nheartbeat_ms = 200\n'
        f"[metrics]\nport = 0\n{more}\n"
    )
    return path


def judge(name: str, bundle: Path, **keys: object) -> str:
    """A [[judge]] section of a recipe."""
    said = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    return f'[[judge]]\nname = "{name}"\nbundle = "{bundle}"\n{said}'


def write_boards(folder: Path, boards: dict[str, bool], master: np.ndarray) -> str:
    """Write a master `a` and pictures of it, bad ones with a bright spot; returns the [source] of them."""
    for name in ("masters", "frames"):
        (folder / name).mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "masters/a.png"), master)
    for name, good in boards.items():
        picture = master.copy()
        if not good:
            picture[20:28, 36:44] = 255
        cv2.imwrite(str(folder / f"frames/{name}.a.png"), picture)
    height, width = master.shape
    return f'kind = "folder"\nfiles = "frames/*.{{view}}.png"\nwidth = {width}\nheight = {height}'


class Subscriber:
    """A subscriber as a user would write it: it hears verdicts on a thread of its own until closed."""

    def __init__(self, folder: Path) -> None:
        self.verdicts: list[tuple[str, Verdict]] = []
        self.heartbeats: list[dict[str, object]] = []
        self.alarms: list[Alarm] = []
        self._endpoint = f"ipc://{folder}/verdicts.ipc"

    def __enter__(self) -> Subscriber:
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._thread.join()

    def _hear(self) -> None:
        with subscriber.Subscriber(self._endpoint) as opened:
            while not self._closing.is_set():
                if (heard := opened.hear(50)) is None:
                    continue
                if isinstance(heard.message, Verdict):
                    self.verdicts.append((heard.topic.decode(), heard.message))
                elif isinstance(heard.message, Alarm):
                    self.alarms.append(heard.message)
                else:
                    self.heartbeats.append(msgspec.json.decode(heard.body))

    def ids(self) -> list[str]:
        """The part_ids heard, with 1 for the first epoch, 2 for the second, and so on."""
        epochs = sorted({verdict.epoch for _, verdict in self.verdicts})
        return [f"{epochs.index(verdict.epoch) + 1}-{verdict.sequence}" for _, verdict in self.verdicts]


class RunningLine:
    """`edge run RECIPE` as a process of its own."""

    def __init__(self, recipe: Path, process: subprocess.Popen[str]) -> None:
        self.process = process
        name = recipe.read_text().split('"')[1]
        #: Where the runs of the line lie.
        self.folder = SHARED_MEMORY / f"linejudge-{os.getuid()}" / name
        self._killed: set[int] = set()

    @property
    def run(self) -> Path:
        """The folder of the run that goes on."""
        return self.folder / (self.folder / "run").read_text()

    def ledger(self, camera: str = "camera") -> Ledger:
        return Ledger.open(ledger_path(self.run, camera))

    def stages(self) -> Stages:
        return Stages.open(stages_path(self.run))

    def pid(self, stage: str) -> int:
        """Of a stage that is ready. One that was killed is not, even if the line has not noticed it yet."""

        def is_ready() -> bool:
            row = self._row(stage)
            return bool(row["ready"]) and int(row["pid"]) not in self._killed

        until(is_ready, f"{stage} is ready", self)
        return int(self._row(stage)["pid"])

    def _row(self, stage: str) -> np.void:
        return self.stages()[stage][0]

    def kill(self, stage: str) -> int:
        """Kill a stage that is ready as the kernel would; returns its pid."""
        pid = self.pid(stage)
        self._killed.add(pid)
        os.kill(pid, signal.SIGKILL)
        return pid

    def says(self, what: str) -> str:
        """Wait until the line says this; returns what it said until then."""
        said = []
        for text in iter(self.process.stderr.readline, ""):  # type: ignore[union-attr]
            said.append(text)
            if what in text:
                return "".join(said)
        raise AssertionError(f"the line ended and did not say {what!r}: {''.join(said)}")

    def wait(self) -> tuple[int, str]:
        """Wait for the line to end: its exit status and what it said."""
        said = self.process.communicate(timeout=PATIENCE_S)[1]
        return self.process.returncode, said


@contextmanager
def running(recipe: Path, **more: str) -> Iterator[RunningLine]:
    """Start a line, with more in its environment; whatever is left of it at the end is killed."""
    environment = {**os.environ, "XDG_STATE_HOME": str(recipe.parent / "state"), **more}
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "run", str(recipe)], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield RunningLine(recipe, process)
    finally:
        process.kill()
        process.communicate()


def until(
    true: Callable[[], object], what: str, line: RunningLine | None = None, patience_s: float = PATIENCE_S
) -> None:
    """Wait until something is true; fails, with what the line said, if the line ends or it takes too long."""
    end = time.monotonic() + patience_s
    while True:
        try:
            if true():
                return
        except (OSError, LineError):
            pass  # the line's files are not there yet
        if line is not None and line.process.poll() is not None:
            raise AssertionError(f"the line ended before {what}: {line.process.communicate()[1]}")
        assert time.monotonic() < end, f"not within {patience_s} s: {what}"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stop(line: RunningLine) -> str:
    """Stop a line as systemd would; what it said. It has to end with status 0."""
    line.process.send_signal(signal.SIGTERM)
    status, said = line.wait()
    assert status == 0, said
    return said


def judged(subscriber: Subscriber, count: int) -> Callable[[], bool]:
    """Tells whether so many parts have been judged from now on."""
    seen = len(subscriber.verdicts)
    return lambda: sum(v.verdict != "unknown" for _, v in subscriber.verdicts[seen:]) >= count
