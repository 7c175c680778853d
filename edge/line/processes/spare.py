"""Lets a spare infer process wait, with its engines ready, until it takes the place of the one that ended."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from pathlib import Path

import msgspec

from ...errors import LineError
from ...messages import Running
from ...stages.liveness import TICK_MS
from ..child import TAKE_OVER
from ..cpu import take_idle_priority
from ..plan import RUNNING
from ..start import show_name
from . import Run

#: The kernel ends such a process first where memory is short (proc_pid_oom_score_adj(5)).
MOST_EXPENDABLE = "1000"

log = logging.getLogger(__name__)


def step_back() -> None:
    """Let all other processes go first: they get the processor, and the memory where it is short."""
    take_idle_priority()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(MOST_EXPENDABLE)


def await_take_over(run: Run, running: Running) -> bool:
    """Wait until the supervisor lets this process take over; return False if it has to stop instead.

    Raises LineError if its engines, `running`, are not those on which the line runs: then it is no spare.
    """
    of_line = msgspec.json.decode((run.folder / RUNNING).read_bytes(), type=Running)
    if _kinds(running) != _kinds(of_line):
        raise LineError(
            f"engine.spare: the line runs on {' '.join(_kinds(of_line))}, and a second process gets "
            f"{' '.join(_kinds(running))}: there may be too little memory for both; set engine.spare = false"
        )
    run.liveness.ready()
    while not run.liveness.stopping:
        run.liveness.beat()
        if signal.sigtimedwait({TAKE_OVER}, TICK_MS / 1000):
            run.liveness.become(run.stages["infer"])
            show_name("infer")
            with suppress(OSError):
                of_others = Path(f"/proc/{os.getppid()}/oom_score_adj").read_text()
                Path("/proc/self/oom_score_adj").write_text(of_others)
            log.warning("takes the place of the infer process that has ended")
            return True
    return False


def _kinds(running: Running) -> tuple[str, str]:
    return running.engine, running.precision
