"""A stage's life: the signs of it that its supervisor reads, and when it is to stop."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

from ..memory.ledger import Ledger

TICK_MS = 100  # at most so long between two signs of life


class Liveness:
    """What the supervisor sees of a stage, and what the stage hears of its supervisor."""

    def __init__(self, ledger: Ledger, stage: str, supervisor: int) -> None:
        self._row = ledger.stages[stage]
        self._supervisor = supervisor
        self.stopping = False

    def __enter__(self) -> Liveness:
        def stop(number: int, frame: FrameType | None) -> None:
            self.stopping = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor, which stops us in order
        self._row["pid"] = os.getpid()
        return self

    def __exit__(self, *error: object) -> None:
        self._row["ready"] = 0

    def ready(self) -> None:
        """From here on the stage takes parts."""
        self.beat()
        self._row["ready_ns"] = time.monotonic_ns()
        self._row["ready"] = 1

    def beat(self) -> None:
        """Show life; stop where the supervisor is gone."""
        self._row["beat_ns"] = time.monotonic_ns()
        if os.getppid() != self._supervisor:
            self.stopping = True
