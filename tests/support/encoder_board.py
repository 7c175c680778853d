"""A board that sends the count of an encoder over a serial port, for a belt that a test lets run and stop."""

from __future__ import annotations

import os
import pty
import threading
import time

PERIOD_S = 0.01


class EncoderBoard:
    """The other end of a serial line. Its belt runs at 1000 ticks a second until `stop`, and after `run`."""

    def __init__(self) -> None:
        self._file, self._port = pty.openpty()
        self.device = os.ttyname(self._port)
        self._lock = threading.Lock()
        self._ticks, self._since_ns = 0.0, time.monotonic_ns()
        self._is_running = True
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> EncoderBoard:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._thread.join()
        os.close(self._file)
        os.close(self._port)

    def stop(self) -> int:
        """Let the belt stand; returns when it did, in ns of the monotonic clock."""
        with self._lock:
            self._ticks, self._is_running = self._moved(), False
            return time.monotonic_ns()

    def run(self) -> None:
        """Let the belt run on."""
        with self._lock:
            self._since_ns, self._is_running = time.monotonic_ns(), True

    def _moved(self) -> float:
        passed_ns = time.monotonic_ns() - self._since_ns if self._is_running else 0
        return self._ticks + passed_ns / 1e6

    def _send(self) -> None:
        while not self._closing.wait(PERIOD_S):
            with self._lock:
                os.write(self._file, b"%d\n" % self._moved())

    def section(self) -> str:
        """The sections of a recipe about this belt, with an ejector that parts reach after 1.5 seconds."""
        encoder = f'[belt]\nby = "encoder"\n[belt.encoder]\nkind = "serial"\ndevice = "{self.device}"\n'
        return f"{encoder}[ejector]\nat = 1500\n"
