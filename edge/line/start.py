"""Starts the process of a stage, and ties it to its supervisor before it imports anything heavy.

The supervisor runs it as `python -m edge.line.start FOLDER STAGE SUPERVISOR`; nobody runs it by hand.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)


def tie(stage: str, supervisor: int) -> None:
    """Have the kernel kill this process when its supervisor, a process id, ends.

    Publish gets SIGTERM instead, and publishes what was captured before it stops. Exits where the supervisor
    has ended already.
    """
    number = signal.SIGTERM if stage == "publish" else signal.SIGKILL
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    # The supervisor may have ended before the call.
    if os.getppid() != supervisor:
        sys.exit(f"edge: {stage}: its supervisor, process {supervisor}, is gone")


def main() -> int:
    """Run the stage that the command line names; return the exit status."""
    folder, stage, supervisor = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    tie(stage, supervisor)
    from .processes import run_stage_of

    return run_stage_of(folder, stage, supervisor)


if __name__ == "__main__":
    sys.exit(main())
