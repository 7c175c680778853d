"""Starts a process of a line, and first makes sure that this process ends when its supervisor ends.

The supervisor runs it as `python -m edge.line.start FOLDER PROCESS SUPERVISOR`. Nobody runs it by hand.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)


def tie(name: str, supervisor: int) -> None:
    """Tell the kernel to kill this process when the process with the id `supervisor` ends.

    The publish stage gets SIGTERM instead, so that it can still publish the verdicts of all captured parts.
    Exits if the supervisor has ended already.
    """
    number = signal.SIGTERM if name == "publish" else signal.SIGKILL
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    # The supervisor may have ended before the call.
    if os.getppid() != supervisor:
        sys.exit(f"edge: {name}: its supervisor, process {supervisor}, is gone")


def main() -> int:
    """Run the process that the command line names, and return its exit status."""
    folder, name, supervisor = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    tie(name, supervisor)
    from .processes import run_named

    return run_named(folder, name, supervisor)


if __name__ == "__main__":
    sys.exit(main())
