"""A line under watch: a process that a test may break as it likes, what it captured, and what was heard of it.

The watcher reads the ledgers of all runs by itself, hears all verdicts by a ZeroMQ socket of its own, and
starts the line anew when its supervisor has ended, as a service manager would.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import zmq
from account import Account, Captured, Heard, PartId, account, gaps
from belt_account import BeltAccount, Seen, belt_account
from lines import line_name, until

from edge.errors import LineError
from edge.line.plan import SPARE
from edge.line.run_folder import SHARED_MEMORY, ledgers_in, stages_path
from edge.memory.ledger import ROWS, Ledger
from edge.memory.stages import Stages

LOOK_S = 0.02
#: The kernel cuts the name of a process to this length.
COMM_BYTES = 15


class Ear(threading.Thread):
    """Hears every verdict and heartbeat on an endpoint, and notes when it came."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self.verdicts: list[Heard] = []
        self.heartbeats: list[Heard] = []
        self.closing = threading.Event()
        self._endpoint = endpoint

    def run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.linger, socket.rcvhwm = 0, 0
            socket.reconnect_ivl, socket.reconnect_ivl_max = 10, 30  # as docs/subscribing.md advises
            socket.subscribe(b"")
            socket.connect(self._endpoint)
            while not self.closing.is_set():
                if not socket.poll(50):
                    continue
                topic, body = socket.recv_multipart()
                one = Heard(heard_ns=time.monotonic_ns(), topic=topic.decode(), body=json.loads(body))
                if topic.startswith((b"accept.", b"reject.")):
                    self.verdicts.append(one)
                elif topic.startswith(b"heartbeat."):
                    self.heartbeats.append(one)


class Watched(threading.Thread):
    """A line that is watched, started by `with`; `number_of` tells which number the picture of a part shows."""

    def __init__(
        self, recipe: Path, number_of: Callable[[PartId, str], int | None], endpoint: str = "", **more: str
    ) -> None:
        super().__init__(daemon=True)
        self.captured: dict[PartId, Captured] = {}
        self.starts = 0
        self.judged_within_s = 0.5  # the line is well if a part that was captured since has been judged
        self.folder = SHARED_MEMORY / f"linejudge-{os.getuid()}" / line_name(recipe.parent)
        self.log = recipe.parent / "line.log"
        self.ear = Ear(endpoint or f"ipc://{recipe.parent}/verdicts.ipc")
        self._recipe, self._number_of = recipe, number_of
        self._environment = {**os.environ, "XDG_STATE_HOME": str(recipe.parent / "state"), **more}
        self._ledgers: dict[Path, Ledger] = {}  # of all cameras, in all runs
        self._read: dict[Path, int] = {}  # how far each has been read
        self._runs: dict[Path, str] = {}  # the number of each run, by its folder
        self._looks = 0
        self._closing = threading.Event()

    def __enter__(self) -> Watched:
        self.ear.start()
        self._start_line()
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self.join()
        self.process.kill()
        self.process.wait()
        self.ear.closing.set()
        self.ear.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self) -> None:
        while not self._closing.wait(LOOK_S):
            self._look()
            if self.process.poll() is not None:
                self._start_line()

    def _start_line(self) -> None:
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", str(self._recipe)], stderr=log, env=self._environment
            )

    def _look(self) -> None:
        """Note the parts that have been captured since the last look."""
        with suppress(OSError, LineError):
            for path in ledgers_in(self.run_folder):
                if path not in self._ledgers:
                    self._runs[path.parent] = Stages.open(stages_path(path.parent)).run.hex()
                    self._ledgers[path] = Ledger.open(path)
        for path, ledger in self._ledgers.items():
            for entry in range(self._read.get(path, 0), ledger.captured):
                assert ledger.captured - entry < ROWS, "the watcher was too slow"
                part = ledger.part(entry)
                self.captured[part.epoch, part.sequence] = Captured(
                    source_ref=part.source_ref,
                    captured_ns=part.captured_ns,
                    deadline_ns=part.deadline_ns,
                    run=self._runs[path.parent],
                    camera=path.stem,
                    entry=entry,
                )
                self._read[path] = entry + 1
        self._looks += 1

    def processes(self) -> dict[str, int]:
        """The living processes of the line by name, with `supervisor` and `fork server`, which forks them."""
        found = {"supervisor": self.process.pid}
        with suppress(OSError, LineError):
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            names = {name[:COMM_BYTES]: name for name in self.stages}
            for pid in children:
                if b"edge.line.start" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    comm = Path(f"/proc/{pid}/comm").read_text().strip()
                    found[names.get(comm, comm)] = int(pid)
        return found

    @property
    def run_folder(self) -> Path:
        """Of the run that goes on."""
        return self.folder / (self.folder / "run").read_text()

    @property
    def stages(self) -> Stages:
        """The rows of the processes of the run that goes on."""
        return Stages.open(stages_path(self.run_folder))

    def dropped(self, stage: str) -> int:
        """How many messages a stage has refused."""
        return int(self.stages[stage]["dropped"][0])

    def pid(self, stage: str) -> int | None:
        """Of a stage that is ready."""
        with suppress(OSError, LineError):
            row = self.stages[stage][0]
            pid = self.processes().get(stage)
            return pid if row["ready"] and row["pid"] == pid else None
        return None

    def is_well(self) -> bool:
        """Whether every process is ready and a part that was captured just now has been judged.

        A busy machine has no time for a spare process, and the line judges without it.
        """
        judged = [one for one in self.ear.verdicts[-20:] if one.is_judged]
        recent_ns = time.monotonic_ns() - round(self.judged_within_s * 1e9)
        return (
            all(self.pid(name) for name in self.stages if name != SPARE)
            and bool(judged)
            and judged[-1].body["captured_ns"] > recent_ns
        )

    def await_well(self) -> None:
        self.until(self.is_well, "the line is well")

    def until(self, true: Callable[[], object], what: str, patience_s: float = 60.0) -> None:
        """Wait until something is true; fails, with what the line said last, if it takes too long."""
        try:
            until(true, what, patience_s=patience_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.log.read_text()[-2000:]}") from error

    def account(self) -> Account:
        """The account of all parts captured until now, once each is heard of or nothing is to be expected."""
        known = dict(self.captured)

        def is_complete() -> bool:
            heard = list(self.ear.verdicts)
            return known.keys() <= {one.id for one in heard} and not gaps(heard)

        heard, numbers = self._heard_of(known, is_complete)
        return account(known, heard, self._number_of, numbers)

    def belt_account(self, first: str) -> BeltAccount:
        """The same for a line with several cameras, of which `first` makes parts."""
        known = {
            key: Seen(run=one.run, camera=one.camera, entry=one.entry, shows=one.source_ref)
            for key, one in dict(self.captured).items()
        }

        def found() -> BeltAccount:
            return belt_account(known, list(self.ear.verdicts), first)

        heard, numbers = self._heard_of(known, lambda: not found().missing and not found().gaps)
        return belt_account(known, heard, first, numbers)

    def _heard_of(
        self, known: Mapping[PartId, object], is_complete: Callable[[], bool]
    ) -> tuple[list[Heard], int]:
        """The verdicts on these parts and on any that nobody captured, and how many numbers are missing of all.

        Waits until they are complete, or until nothing more is to be expected.
        """
        with suppress(AssertionError):
            until(is_complete, "all is heard")
        heard, looks = list(self.ear.verdicts), self._looks
        if self.is_alive():
            until(lambda: self._looks > looks + 1, "the ledger is read after these verdicts")
        return [one for one in heard if one.id in known or one.id not in self.captured], gaps(heard)

    def stop(self) -> None:
        """Stop the line as a service manager would, and note what it captured last."""
        self._closing.set()
        self.join()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self._look()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process by SIGSTOP while in the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
