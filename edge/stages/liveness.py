"""Shows the supervisor that a stage is alive, and tells the stage when it must stop."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType
from typing import Any

from numpy.typing import NDArray

from ..memory.stages import Stages

#: A process of the line shows a heartbeat at least this often.
TICK_MS = 100


class Liveness:
    """Writes a process's heartbeats into its row of `stages`. The process must stop when `stopping` is True.

    `stopping` becomes True when the signal SIGTERM comes or when the supervisor has ended.
    """

    def __init__(self, stages: Stages, name: str, supervisor: int) -> None:
        self._row = stages[name]
        self._supervisor = supervisor
        self.stopping = False

    def __enter__(self) -> Liveness:
        def stop(number: int, frame: FrameType | None) -> None:
            self.stopping = True

        signal.signal(signal.SIGTERM, stop)
        # Ctrl-C reaches the supervisor, which stops the stages in order.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._row["pid"] = os.getpid()
        return self

    def __exit__(self, *error: object) -> None:
        self._row["ready"] = 0

    def become(self, row: NDArray[Any]) -> None:
        """Go on as the process of another row of `stages`, which is not ready yet."""
        self._row["ready"] = 0
        self._row = row
        self._row["pid"] = os.getpid()

    def ready(self) -> None:
        """Show the supervisor that the stage takes parts from now on."""
        self.beat()
        self._row["ready_ns"] = time.monotonic_ns()
        self._row["ready"] = 1

    @property
    def is_orphan(self) -> bool:
        """Whether the supervisor has ended."""
        return os.getppid() != self._supervisor

    def beat(self) -> None:
        """Write the time of this heartbeat into the row. Set `stopping` if the supervisor has ended."""
        self._row["beat_ns"] = time.monotonic_ns()
        if self.is_orphan:
            self.stopping = True
