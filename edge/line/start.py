"""Imports what the processes of a line need, and then forks these processes when the supervisor asks for them.

The supervisor runs this module as `python -m edge.line.start FOLDER SUPERVISOR`, with a socket as its stdin
(forkserver.py). Nobody runs it by hand.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys
import time
from pathlib import Path

#: What this process sends once it can fork.
LOADED = b"loaded"
#: Longest request: the name of a process.
REQUEST_BYTES = 256
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # prctl(2)


def tie(name: str, supervisor: int) -> None:
    """Tell the kernel to kill this process when the process with the id `supervisor` ends.

    Publish and journal get SIGTERM instead, so that they still publish and write the verdict of each captured
    part. The recorder calls `outlive` once it holds parts.
    Exits if the supervisor has ended already.
    """
    number = signal.SIGTERM if name in ("publish", "journal") else signal.SIGKILL
    _on_its_end(number)
    # The supervisor may have ended before the call.
    if os.getppid() != supervisor:
        sys.exit(f"edge: {name}: its supervisor, process {supervisor}, is gone")


def end_in(seconds: float) -> None:
    """Have the kernel end this process by SIGALRM after `seconds`, even if it hangs. Calls put it off."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def outlive() -> None:
    """Let this process, which `tie` has tied, go on when its supervisor ends, until the time of `end_in`."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # It does nothing to a process that runs. One that was stopped goes on, so that the alarm can end it.
    _on_its_end(signal.SIGCONT)


def _on_its_end(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its supervisor ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def show_name(name: str) -> None:
    """Show a name by which `ps -o pid,comm` tells this process from others with the same command line."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def serve(requests: socket.socket, supervisor: int) -> str:
    """Fork a process for each name that comes. Return the name in the new process, "" in this one at the end.

    The new process is a child of the supervisor, tied to it, and answers with its process id. If the system
    cannot fork, the answer is the reason.
    """
    while name := requests.recv(REQUEST_BYTES).decode():
        try:
            between = os.fork()
            if not between and _is_forked():
                tie(name, supervisor)
                show_name(name)
                requests.send(str(os.getpid()).encode())
                return name
        except OSError as error:
            requests.send(str(error).encode())
        else:
            os.waitpid(between, 0)
    return ""


def _is_forked() -> bool:
    """Fork a process that is not the child of this one, which ends. Return True in the new process.

    When this process has ended, the kernel makes the new one a child of the supervisor.
    """
    between = os.getpid()
    try:
        if os.fork():
            os._exit(0)
    except OSError:
        # The supervisor gets no answer and starts another server.
        os._exit(1)
    while os.getppid() == between:
        time.sleep(100e-6)
    return True


def main() -> int:
    """Fork processes until the supervisor closes the socket. In such a process, run it; return its status."""
    folder, supervisor = Path(sys.argv[1]), int(sys.argv[2])
    tie("fork server", supervisor)
    show_name("fork server")
    # A spare process waits for this signal (`take_over` of child.py). It would end any other process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    from .processes import load, run_named

    load()
    # Objects that no garbage collection touches stay in memory that all processes share.
    gc.collect()
    gc.freeze()
    requests = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    requests.send(LOADED)
    name = serve(requests, supervisor)
    requests.close()
    return run_named(folder, name, supervisor) if name else 0


if __name__ == "__main__":
    sys.exit(main())
