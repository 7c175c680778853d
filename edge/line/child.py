"""Keeps the process of one stage running: starts it, kills it if it hangs, and restarts it if it has ended."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from ..memory.stages import Stages
from .plan import stage_of

log = logging.getLogger(__name__)

#: Exit status of a stage that failed in a way that a new process may survive (EX_TEMPFAIL of sysexits.h).
TRY_AGAIN = 75
#: A stage that shows no heartbeat for this time is killed.
HANG_NS = 5_000_000_000
#: A stage that needs longer than this to load is killed.
LOAD_NS = 120_000_000_000
#: The first restart does not wait. The second waits BACKOFF_NS, and each later one waits twice as long as the
#: one before, but at most MOST_BACKOFF_NS.
BACKOFF_NS, MOST_BACKOFF_NS = 100_000_000, 10_000_000_000
#: The longest wait for these two stages, because without them no part is seen or gets its verdict.
PROMPT_BACKOFF_NS = {"capture": 500_000_000, "publish": 500_000_000}
#: After a process has run for this time, its next restart does not wait.
STEADY_NS = 30_000_000_000


class Child:
    """One process of a line, such as capture. `tick` kills it if it hangs, and says when to restart it."""

    def __init__(self, folder: Path, name: str, stages: Stages) -> None:
        self.name = name
        self.restarts = 0
        self._folder = folder
        self._row = stages[name]
        self._process: subprocess.Popen[bytes] | None = None
        self._started_ns = 0
        self._due_ns = 0
        self._backoff_ns = 0

    @property
    def pid(self) -> int | None:
        """Process id of the stage, or None if its process does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def ready(self) -> bool:
        """Whether the stage's process runs and has reported that it can take parts."""
        return self.pid is not None and int(self._row["pid"][0]) == self.pid and bool(self._row["ready"][0])

    @property
    def dropped(self) -> int:
        """Number of messages that this stage has refused since the line started. Restarts keep the count."""
        return int(self._row["dropped"][0])

    @property
    def exit_code(self) -> int | None:
        """Exit code of the stage's last process, negative if a signal killed it; None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def error(self) -> str:
        """The error message with which the stage's process ended, or its exit status if there is no message."""
        try:
            return (self._folder / f"{self.name}.error").read_text()
        except OSError:
            return f"ended with status {self.exit_code}"

    def start(self) -> None:
        """Start the process in its own session, so that Ctrl-C in a terminal reaches only the supervisor."""
        (self._folder / f"{self.name}.error").unlink(missing_ok=True)
        self._row["ready"] = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge.line.start", str(self._folder), self.name, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._started_ns = time.monotonic_ns()
        self._due_ns = 0

    def tick(self, now_ns: int) -> bool:
        """Kill the process if it hangs. Return True if the process has ended and it is time to restart it."""
        if self.pid is not None:
            since_ns, limit_ns = (
                (int(self._row["beat_ns"][0]), HANG_NS) if self.ready else (self._started_ns, LOAD_NS)
            )
            if now_ns - max(since_ns, self._started_ns) > limit_ns:
                log.error("%s: no sign of life for %.0f s; killed", self.name, limit_ns / 1e9)
                self.kill()
            return False
        if not self._due_ns:
            self._row["ready"], self._row["failed_ns"] = 0, now_ns
            if now_ns - self._started_ns > STEADY_NS:
                self._backoff_ns = 0
            log.error("%s: %s; restarting it in %.1f s", self.name, self.error, self._backoff_ns / 1e9)
            self.postpone(now_ns)
        return now_ns >= self._due_ns

    def postpone(self, now_ns: int) -> None:
        """Delay the restart by the current waiting time, and double this time, up to a limit, for the next."""
        self._due_ns = now_ns + self._backoff_ns
        most_ns = PROMPT_BACKOFF_NS.get(stage_of(self.name), MOST_BACKOFF_NS)
        self._backoff_ns = min(max(2 * self._backoff_ns, BACKOFF_NS), most_ns)

    def restart(self) -> None:
        """Start the process again, and add 1 to `restarts`."""
        self.start()
        self.restarts += 1

    def terminate(self) -> None:
        """Ask the process to stop, with the signal SIGTERM."""
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill the process and wait until it has ended."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def wait(self, timeout_s: float) -> None:
        """Wait until the process has ended. Kill the process if it still runs after `timeout_s` seconds."""
        if self._process:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                log.error("%s: did not stop within %.0f s; killed", self.name, timeout_s)
                self.kill()
