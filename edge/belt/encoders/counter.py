"""Reads a counter of the machine, such as one that counts the pulses of a GPIO pin, from its files in sysfs.

The files are those of Linux's counter subsystem: Documentation/ABI/testing/sysfs-bus-counter in its sources.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ...errors import EncoderError
from ...recipe import CounterEncoder
from .base import PERIOD_S


class Counter:
    """A count of the counter subsystem: a folder with a file `count` and, with most drivers, `ceiling`."""

    def __init__(self, section: CounterEncoder) -> None:
        self._folder, self._bits = Path(section.device), section.bits
        self._file = -1

    def __enter__(self) -> Counter:
        # Drivers that can stop counting have this file.
        if self._text("enable", "1") == "0":
            raise EncoderError(f"{self._folder}: the counter is off: write 1 to {self._folder / 'enable'}")
        ceiling = self._text("ceiling", str(2**self._bits - 1))
        if not ceiling.isdecimal():
            raise EncoderError(f"{self._folder / 'ceiling'}: expected a number, found {ceiling!r}")
        self.modulus = int(ceiling) + 1
        try:
            self._file = os.open(self._folder / "count", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise EncoderError(
                f"{self._folder / 'count'}: {error.strerror}: name the folder of the count in [belt.encoder] "
                "device, such as /sys/bus/counter/devices/counter0/count0"
            ) from error
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def read(self) -> tuple[int, int]:
        """Return the time and the count at this time. Raise EncoderError if the counter is gone."""
        time.sleep(PERIOD_S)
        before_ns = time.monotonic_ns()
        try:
            text = os.pread(self._file, 32, 0).strip()
            return (before_ns + time.monotonic_ns()) // 2, int(text)
        except OSError as error:
            raise EncoderError(f"{self._folder / 'count'}: {error.strerror}: is its driver loaded?") from error
        except ValueError as error:
            raise EncoderError(f"{self._folder / 'count'}: expected a number, found {text!r}") from error

    def _text(self, name: str, default: str) -> str:
        try:
            return (self._folder / name).read_text().strip()
        except OSError:
            return default
