"""Reads the count of an encoder from registers of a PLC or of the encoder itself, by Modbus TCP.

The two functions that this needs are those of the MODBUS Application Protocol Specification V1.1b3 (6.3 and
6.4), in the frame of the MODBUS Messaging on TCP/IP Implementation Guide V1.0b (3.1.3).
"""

from __future__ import annotations

import socket
import struct
import time

from ...errors import EncoderError
from ...recipe import ModbusEncoder
from .base import CHECK, PERIOD_S, SILENT_S

_FUNCTIONS = {"holding": 3, "input": 4}
#: Exception codes of the specification, section 7.
_EXCEPTIONS = {1: "it does not know the function", 2: "it has no such register", 3: "it refuses the request"}


class ModbusRegister:
    """A count of 16 bits in one register, or of 32 bits in two that follow one another."""

    def __init__(self, section: ModbusEncoder) -> None:
        self._section = section
        self.modulus = 2**section.bits
        self._transaction = 0

    def __enter__(self) -> ModbusRegister:
        try:
            self._socket = socket.create_connection((self._section.host, self._section.port), SILENT_S)
        except OSError as error:
            raise EncoderError(
                f"{self._where}: cannot connect to the encoder: {error.strerror or error}: see [belt.encoder]"
            ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    @property
    def _where(self) -> str:
        return f"{self._section.host}:{self._section.port}"

    def read(self) -> tuple[int, int]:
        """Return the count, and the time in the middle between the request and its answer.

        Raise EncoderError if no answer comes within SILENT_S, or if the device refuses the request.
        """
        time.sleep(PERIOD_S)
        words = self._section.bits // 16
        self._transaction = (self._transaction + 1) % 2**16
        function = _FUNCTIONS[self._section.table]
        # Transaction, protocol 0, length of what follows, unit; function, first register, number of registers.
        request = struct.pack(
            ">HHHBBHH", self._transaction, 0, 6, self._section.unit, function, self._section.register, words
        )
        try:
            sent_ns = time.monotonic_ns()
            self._socket.sendall(request)
            answer = self._answer(function, words)
            now_ns = (sent_ns + time.monotonic_ns()) // 2
        except OSError as error:
            if isinstance(error, EncoderError):
                raise
            raise EncoderError(
                f"{self._where}: the encoder is gone: {error.strerror or error}: {CHECK}"
            ) from error
        registers = struct.unpack(f">{words}H", answer)
        if not self._section.high_first:
            registers = registers[::-1]
        return now_ns, int.from_bytes(struct.pack(f">{words}H", *registers), "big")

    def _answer(self, function: int, words: int) -> bytes:
        """Return the registers' bytes in the answer to this transaction; leave out answers to earlier ones."""
        while True:
            transaction, protocol, length, _ = struct.unpack(">HHHB", self._exactly(7))
            if protocol or not 3 <= length <= 254:
                raise EncoderError(f"{self._where}: what answers does not speak Modbus TCP: see [belt.encoder]")
            body = self._exactly(length - 1)
            if transaction == self._transaction:
                break
        if body[0] == function | 0x80:
            why = _EXCEPTIONS.get(body[1], f"exception {body[1]}")
            raise EncoderError(
                f"{self._where}: register {self._section.register} cannot be read: {why}: see [belt.encoder]"
            )
        if body[0] != function or body[1] != 2 * words or len(body) != 2 + 2 * words:
            raise EncoderError(f"{self._where}: the answer does not fit the request: {body[:8].hex()}")
        return body[2:]

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            received = self._socket.recv(count - len(found))
            if not received:
                raise EncoderError(f"{self._where}: the encoder closed the connection: {CHECK}")
            found += received
        return found
