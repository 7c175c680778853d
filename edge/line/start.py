"""Where the process of a stage begins: tied to its supervisor's life before anything heavy is imported.

Started as `python -m edge.start FOLDER STAGE SUPERVISOR` by the supervisor, never by hand.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)


def tie(stage: str, supervisor: int) -> None:
    """Have the kernel end this process with its supervisor, a process id, and end it at once if that is gone.

    Publish is told to stop instead, and first gives out what was captured.
    """
    number = signal.SIGTERM if stage == "publish" else signal.SIGKILL
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != supervisor:  # it ended before the kernel was asked
        sys.exit(f"edge: {stage}: its supervisor, process {supervisor}, is gone")


def main() -> int:
    folder, stage, supervisor = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    tie(stage, supervisor)
    from .processes import run_stage_of

    return run_stage_of(folder, stage, supervisor)


if __name__ == "__main__":
    sys.exit(main())
