"""Reads the count of an encoder that sends it as lines of text over a serial port, one number a line."""

from __future__ import annotations

import os
import re
import select
import termios
import time

from ...errors import EncoderError
from ...recipe import SerialEncoder
from .base import CHECK, SILENT_S

#: A line longer than this is no count.
LINE_BYTES = 64


class SerialPort:
    """An encoder, or a small board that reads one, at a serial port: 8 data bits, no parity, no handshake."""

    def __init__(self, section: SerialEncoder) -> None:
        self._section = section
        self.modulus = 2**section.bits
        self._file = -1
        self._text = b""
        self._whole = False  # whether the beginning of the line in `_text` was received
        self._heard_ns = 0
        self._last_line = b""

    def __enter__(self) -> SerialPort:
        device = self._section.device
        try:
            self._file = os.open(device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise EncoderError(
                f"{device}: cannot open the encoder's port: {error.strerror}: see [belt.encoder] device, and "
                "that the user of this line is in the group dialout"
            ) from error
        try:
            self._set_up()
        except termios.error as error:
            os.close(self._file)
            raise EncoderError(
                f"{device}: no serial port: {error.args[-1]}: see [belt.encoder] device"
            ) from error
        self._heard_ns = time.monotonic_ns()
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def _set_up(self) -> None:
        """Set speed and frame; take bytes as they are; drop what was received before."""
        speed = getattr(termios, f"B{self._section.baud}")
        settings = termios.tcgetattr(self._file)
        # Without HUPCL, closing the port leaves DTR as it is, which resets many boards.
        control = termios.CS8 | termios.CREAD | termios.CLOCAL
        termios.tcsetattr(
            self._file, termios.TCSANOW, [termios.IGNBRK, 0, control, 0, speed, speed, settings[6]]
        )
        termios.tcflush(self._file, termios.TCIFLUSH)

    def read(self) -> tuple[int, int] | None:
        """Return the time and count of the last whole line. Lines that are no number are left out.

        Return None after a tenth of a second without one, and raise EncoderError after SILENT_S or if the port
        is gone.
        """
        readable, _, _ = select.select([self._file], (), (), 0.1)
        now_ns = time.monotonic_ns()
        if readable:
            self._receive()
        count = self._count()
        if count is not None:
            self._heard_ns = now_ns
            return now_ns, count
        if now_ns - self._heard_ns > SILENT_S * 1e9:
            heard = f"its last line is {self._last_line[:40]!r}" if self._last_line else "nothing comes"
            raise EncoderError(
                f"{self._section.device}: no count for {SILENT_S:g} s: {heard}: see [belt.encoder] baud"
            )
        return None

    def _receive(self) -> None:
        try:
            received = os.read(self._file, 4096)
        except OSError as error:
            raise EncoderError(
                f"{self._section.device}: the encoder is gone: {error.strerror}: {CHECK}"
            ) from error
        if not received:
            raise EncoderError(f"{self._section.device}: the encoder is gone: end of file: {CHECK}")
        self._text += received

    def _count(self) -> int | None:
        """Take all whole lines and return the last count among them."""
        *lines, self._text = re.split(rb"[\r\n]+", self._text)
        self._text = self._text[-LINE_BYTES:]
        count = None
        for line in lines:
            if self._whole and line:
                self._last_line = line
                if re.fullmatch(rb"\s*[+-]?\d{1,20}\s*", line):
                    count = int(line)
            # The first line may have lost its beginning, and would be another number.
            self._whole = True
        return count
