"""Keeps the process of one stage running: starts it, kills it if it hangs, and restarts it if it has ended."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path

from ..memory.stages import Stages
from .cpu import end_idle_priority
from .forkserver import ForkServer, Process
from .plan import stage_of

log = logging.getLogger(__name__)

#: The signal that makes a spare process take the place of the one that ended.
TAKE_OVER = signal.SIGUSR1
#: Exit status of a stage that failed in a way that a new process may survive (EX_TEMPFAIL of sysexits.h).
TRY_AGAIN = 75
#: A stage that shows no heartbeat for this time is killed.
HANG_NS = 5_000_000_000
#: A stage that needs longer than this to load is killed.
LOAD_NS = 120_000_000_000
#: The first restart does not wait. The second waits BACKOFF_NS, and each later one waits twice as long as the
#: one before, but at most MOST_BACKOFF_NS.
BACKOFF_NS, MOST_BACKOFF_NS = 100_000_000, 10_000_000_000
#: The longest wait for these stages, which start within a tenth of a second. Without them no part is seen,
#: judged or published. A process that fails at once, again and again, so starts three or four times a second.
PROMPT_BACKOFF_NS = dict.fromkeys(("capture", "preprocess", "publish"), 250_000_000)
#: After a process was ready for this time, and STEADY times as long as it had taken to start, its next restart
#: does not wait. So restarts take a tenth of a core at most.
STEADY_NS, STEADY = 1_000_000_000, 10


class Child:
    """One process of a line, such as capture. `tick` kills it if it hangs, and says when to restart it."""

    def __init__(self, folder: Path, name: str, stages: Stages, forks: ForkServer) -> None:
        self.name = name
        self.restarts = 0
        self._folder, self._forks = folder, forks
        self._row = stages[name]
        self._process: Process | None = None
        self._started_ns = 0
        self._away_since_ns = 0
        self._due_ns = 0
        self._backoff_ns = 0

    @property
    def pid(self) -> int | None:
        """Process id of the stage, or None if its process does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def is_started(self) -> bool:
        """Whether it has a process, which may have ended."""
        return self._process is not None

    @property
    def ready(self) -> bool:
        """Whether the stage's process runs and has reported that it can take parts."""
        return self.pid is not None and int(self._row["pid"][0]) == self.pid and bool(self._row["ready"][0])

    @property
    def dropped(self) -> int:
        """Number of messages that this stage has refused since the line started. Restarts keep the count."""
        return int(self._row["dropped"][0])

    @property
    def away_ns(self) -> int:
        """For how long nobody did this stage's work since the line started, because its process had ended."""
        return int(self._row["away_ns"][0])

    @property
    def exit_code(self) -> int | None:
        """Exit code of the stage's last process, negative if a signal killed it; None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def error(self) -> str:
        """The error message with which the stage's process ended, or its exit status if there is no message."""
        name = self._process.name if self._process else self.name
        try:
            return (self._folder / f"{name}.error").read_text()
        except OSError:
            return f"ended with status {self.exit_code}"

    def start(self) -> None:
        """Start the process. Raise LineError if that is impossible now."""
        (self._folder / f"{self.name}.error").unlink(missing_ok=True)
        self._row["ready"] = 0
        self._run(self._forks.fork(self.name))

    def take_over(self, spare: Child) -> None:
        """Make the process of `spare`, which runs, the process of this stage. This counts as a restart."""
        process = spare._process
        assert process
        end_idle_priority(process.pid)
        spare._process = None
        (self._folder / f"{process.name}.error").unlink(missing_ok=True)
        self._row["ready"] = spare._row["ready"] = 0
        process.send_signal(TAKE_OVER)
        self._run(process)
        self.restarts += 1

    def _run(self, process: Process) -> None:
        self._process = process
        self._started_ns = time.monotonic_ns()
        self._due_ns = 0

    def tick(self, now_ns: int) -> bool:
        """Kill the process if it hangs. Return True if the process has ended and it is time to restart it."""
        self._note_absence(now_ns)
        if self.pid is not None:
            since_ns, limit_ns = (
                (int(self._row["beat_ns"][0]), HANG_NS) if self.ready else (self._started_ns, LOAD_NS)
            )
            if now_ns - max(since_ns, self._started_ns) > limit_ns:
                log.error("%s: no sign of life for %.0f s; killed", self.name, limit_ns / 1e9)
                self.kill()
            return False
        if not self._due_ns:
            if self._was_ready():
                self._away_since_ns = int(self._row["beat_ns"][0])
                self._backoff_ns = 0 if self._was_steady() else self._backoff_ns
            self._row["ready"], self._row["failed_ns"] = 0, now_ns
            log.error("%s: %s; restarting it in %.1f s", self.name, self.error, self._backoff_ns / 1e9)
            self.postpone(now_ns)
        return now_ns >= self._due_ns

    def postpone(self, now_ns: int) -> None:
        """Delay the restart by the current waiting time, and double this time, up to a limit, for the next."""
        self._due_ns = now_ns + self._backoff_ns
        most_ns = PROMPT_BACKOFF_NS.get(stage_of(self.name), MOST_BACKOFF_NS)
        self._backoff_ns = min(max(2 * self._backoff_ns, BACKOFF_NS), most_ns)

    def _was_ready(self) -> bool:
        """Return whether the process that has ended had been ready."""
        return bool(self._process and self._row["pid"][0] == self._process.pid and self._row["ready"][0])

    def _was_steady(self) -> bool:
        beat_ns, ready_ns = int(self._row["beat_ns"][0]), int(self._row["ready_ns"][0])
        least_ns = max(STEADY_NS, STEADY * (ready_ns - self._started_ns))
        return beat_ns - ready_ns > least_ns

    def _note_absence(self, now_ns: int) -> None:
        """Add up the time since the last sign of life of a process that ended, until its successor is ready."""
        if self._away_since_ns:
            is_back = self.ready
            end_ns = min(now_ns, int(self._row["ready_ns"][0])) if is_back else now_ns
            self._row["away_ns"] += max(0, end_ns - self._away_since_ns)
            self._away_since_ns = 0 if is_back else now_ns

    def restart(self) -> None:
        """Start the process again, and add 1 to `restarts`."""
        self.start()
        self.restarts += 1

    def terminate(self) -> None:
        """Ask the process to stop, with the signal SIGTERM."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and wait until it has ended."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def wait(self, timeout_s: float) -> None:
        """Wait until the process has ended. Kill the process if it still runs after `timeout_s` seconds."""
        if self._process and not self._process.wait(timeout_s):
            log.error("%s: did not stop within %.0f s; killed", self.name, timeout_s)
            self.kill()
