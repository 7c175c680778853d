"""One stage's process as the supervisor keeps it: started, watched, and started anew with back-off."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from ..memory.ledger import Ledger

log = logging.getLogger(__name__)

HANG_NS = 5_000_000_000  # without a sign of life for so long, a stage is killed
LOAD_NS = 120_000_000_000  # the same while it loads
#: The first restart is at once, the second waits so long, each further one twice as long, and at most so long.
BACKOFF_NS, MOST_BACKOFF_NS = 100_000_000, 10_000_000_000
PROMPT_BACKOFF_NS = {"capture": 500_000_000, "publish": 500_000_000}  # likewise; without them no part is seen
STEADY_NS = 30_000_000_000  # after so long without a fault, the back-off begins anew


class Child:
    """A stage that is to run; `tick` does what there is to do about it."""

    def __init__(self, folder: Path, stage: str, ledger: Ledger) -> None:
        self.stage = stage
        self.restarts = 0
        self._folder = folder
        self._row = ledger.stages[stage]
        self._process: subprocess.Popen[bytes] | None = None
        self._started_ns = 0
        self._due_ns = 0
        self._backoff_ns = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def ready(self) -> bool:
        return self.pid is not None and int(self._row["pid"][0]) == self.pid and bool(self._row["ready"][0])

    @property
    def dropped(self) -> int:
        """Messages that its processes have dropped."""
        return int(self._row["dropped"][0])

    @property
    def exit_code(self) -> int | None:
        """Of the process that ended last; None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def error(self) -> str:
        """What the stage said when it ended."""
        try:
            return (self._folder / f"{self.stage}.error").read_text()
        except OSError:
            return f"ended with status {self.exit_code}"

    def start(self) -> None:
        """Start the process, in its own session so that a terminal's Ctrl-C goes to the supervisor alone."""
        (self._folder / f"{self.stage}.error").unlink(missing_ok=True)
        self._row["ready"] = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge.line.start", str(self._folder), self.stage, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._started_ns = time.monotonic_ns()
        self._due_ns = 0

    def tick(self, now_ns: int) -> bool:
        """Kill it if it hangs; True if it ended and the time to start it anew has come."""
        if self.pid is not None:
            since_ns, limit_ns = (
                (int(self._row["beat_ns"][0]), HANG_NS) if self.ready else (self._started_ns, LOAD_NS)
            )
            if now_ns - max(since_ns, self._started_ns) > limit_ns:
                log.error("%s: no sign of life for %.0f s; killed", self.stage, limit_ns / 1e9)
                self.kill()
            return False
        if not self._due_ns:
            self._row["ready"], self._row["failed_ns"] = 0, now_ns
            if now_ns - self._started_ns > STEADY_NS:
                self._backoff_ns = 0
            log.error("%s: %s; starting it anew in %.1f s", self.stage, self.error, self._backoff_ns / 1e9)
            self.postpone(now_ns)
        return now_ns >= self._due_ns

    def postpone(self, now_ns: int) -> None:
        """Have it started anew later, and the next time later still."""
        self._due_ns = now_ns + self._backoff_ns
        most_ns = PROMPT_BACKOFF_NS.get(self.stage, MOST_BACKOFF_NS)
        self._backoff_ns = min(max(2 * self._backoff_ns, BACKOFF_NS), most_ns)

    def restart(self) -> None:
        self.start()
        self.restarts += 1

    def terminate(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def wait(self, timeout_s: float) -> None:
        """Wait for the process to end; after the time it is killed."""
        if self._process:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                log.error("%s: did not stop within %.0f s; killed", self.stage, timeout_s)
                self.kill()
