"""Starts the processes of a line quickly: forks them from a process that has imported what they need.

Python and the libraries of a stage take a third of a second to load, a fork takes milliseconds. Processes that
were forked also share the memory of these libraries.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from ..errors import LineError
from .start import LOADED, REQUEST_BYTES

log = logging.getLogger(__name__)

#: A fork that takes longer than this will not come: the server hangs.
FORK_S = 1.0
#: After a fork, numpy's OpenBLAS starts its threads anew, with the priority and on the cores of the thread that
#: calls it. That thread waits for them in a loop. With real-time priority on a single core, they never run.
ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


class Process:
    """A child of this process that was not started by `subprocess`, by its process id and name.

    `descriptor` is a file descriptor that can be read once the process has ended; -1 after `poll` has said so.
    """

    def __init__(self, pid: int, name: str) -> None:
        self.pid, self.name = pid, name
        self.descriptor = os.pidfd_open(pid)
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, negative if a signal ended it; None while it runs."""
        if self._code is None:
            try:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # Its status is lost, for example because SIGCHLD is ignored. 0 would say that it is done.
                self._code = 1
            else:
                self._code = os.waitstatus_to_exitcode(status) if ended else None
            if self._code is not None:
                os.close(self.descriptor)
                self.descriptor = -1
        return self._code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended. Return whether it has: False if `timeout_s` seconds pass first."""
        if self.poll() is None:
            _is_readable(self.descriptor, timeout_s)
        return self.poll() is not None


class ForkServer:
    """Forks the processes of the run in `folder`. `with` starts its server, and kills it at the end.

    A server that has ended or hangs is replaced: `tick` looks after it.
    """

    def __init__(self, folder: Path) -> None:
        self.restarts = 0
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self._is_loaded = False

    def __enter__(self) -> ForkServer:
        # The server's forks become children of this process, which then sees their ends.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._ends = select.epoll()
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._ends.close()

    @property
    def ends(self) -> int:
        """A file descriptor that can be read while a forked process has ended and nobody has noticed it.

        `poll` of the process notices it. The descriptor is one for all: zmq_poll aborts the program if it gets
        more of them than RLIMIT_NOFILE allows.
        """
        return self._ends.fileno()

    @property
    def is_loaded(self) -> bool:
        """Whether the server has imported what the processes need, so that it can fork them."""
        if not self._is_loaded and self.exit_code is None and _is_readable(self._requests.fileno(), 0):
            self._is_loaded = self._requests.recv(REQUEST_BYTES) == LOADED
        return self._is_loaded

    @property
    def exit_code(self) -> int | None:
        """Exit code of the server, negative if a signal killed it; None while it runs."""
        return self._server.poll() if self._server else None

    def tick(self) -> None:
        """Start the server again if it has ended."""
        if self.exit_code is not None:
            log.error("the fork server ended with status %s; starting it again", self.exit_code)
            self._end()
            self._start()
            self.restarts += 1

    def fork(self, name: str) -> Process:
        """Fork the process `name` of the line. Raise LineError if that fails; the next call may succeed."""
        try:
            self._requests.send(name.encode())
            answer = self._requests.recv(REQUEST_BYTES).decode()
        except OSError as error:
            # It may hang, or have ended while it forked.
            self._end()
            raise LineError(f"the fork server does not answer: {error}") from error
        if not answer.isdigit():
            raise LineError(f"the fork server cannot fork: {answer or 'it ended'}")
        try:
            process = Process(int(answer), name)
            self._ends.register(process.descriptor, select.EPOLLIN)
            return process
        except OSError:
            # Without a descriptor left, nobody would see its end: two of a name could run.
            os.kill(int(answer), signal.SIGKILL)
            os.waitpid(int(answer), 0)
            raise

    def _start(self) -> None:
        """Start the server in its own session, so that Ctrl-C in a terminal reaches only the supervisor."""
        self._is_loaded = False
        self._requests, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests.settimeout(FORK_S)
        with its_end:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "edge.line.start", str(self._folder), str(os.getpid())],
                stdin=its_end.fileno(),
                start_new_session=True,
                env={**os.environ, **ONE_BLAS_THREAD},
            )

    def _end(self) -> None:
        self._is_loaded = False
        self._requests.close()
        if self._server:
            self._server.send_signal(signal.SIGKILL)
            self._server.wait()


def _is_readable(descriptor: int, timeout_s: float | None) -> bool:
    """Wait until a file descriptor can be read, and return whether it can. None: wait without a limit."""
    # `select.select` knows no descriptors above 1023.
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(None if timeout_s is None else timeout_s * 1000))
