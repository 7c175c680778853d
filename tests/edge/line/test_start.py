"""A process that goes on when its supervisor has ended, and then ends for sure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lines import is_running, until

#: A supervisor that ends once its process is ready, and has printed the process's id.
SUPERVISOR = """
import os, signal, sys, threading, time
from pathlib import Path
from edge.line.start import end_in, outlive, tie

how, path, supervisor = sys.argv[1], Path(sys.argv[2]), os.getpid()
ready, tell = os.pipe()
if pid := os.fork():
    os.read(ready, 1)
    if how == "stopped":
        os.waitpid(pid, os.WUNTRACED)
    print(pid)
    sys.exit()
os.dup2(tell, 1)  # else the test waits for this process
tie("recorder", supervisor)
end_in(60 if how == "works" else 0.5)
outlive()
os.write(tell, b"x")
if how == "stopped":
    os.kill(os.getpid(), signal.SIGSTOP)
elif how == "works":
    while os.getppid() == supervisor:
        time.sleep(0.01)
    path.write_text("done")
    sys.exit()
# Python calls no handler while its main thread waits for a lock.
lock = threading.Lock()
lock.acquire()
lock.acquire()
"""


def orphan(how: str, path: Path) -> int:
    """The id of a process whose supervisor has ended."""
    command = [sys.executable, "-c", SUPERVISOR, how, str(path)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout)


def test_it_finishes_its_work(tmp_path: Path) -> None:
    """The end of its supervisor does not end it, and it ends by itself."""
    pid = orphan("works", tmp_path / "file")
    until((tmp_path / "file").exists, "its work is done")
    until(lambda: not is_running(pid), "it has ended")


@pytest.mark.parametrize("how", ["hangs", "stopped"])
def test_it_stays_for_no_longer_than_its_time(tmp_path: Path, how: str) -> None:
    """It is ended if it hangs, and also if somebody had stopped it before."""
    pid = orphan(how, tmp_path / "file")
    until(lambda: not is_running(pid), "it has ended", patience_s=20)
