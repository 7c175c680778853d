"""Opens the encoder that a recipe names, which counts how far the belt has moved."""

from __future__ import annotations

from ...recipe import CounterEncoder, Encoder, ModbusEncoder, SerialEncoder
from .base import Counting
from .counter import Counter
from .modbus import ModbusRegister
from .serial_port import SerialPort
from .simulated import Simulated

__all__ = ["Counting", "open_encoder"]


def open_encoder(section: Encoder) -> Counting:
    """Return the encoder of a recipe's [belt.encoder] section. The caller opens it by `with`."""
    if isinstance(section, SerialEncoder):
        return SerialPort(section)
    if isinstance(section, CounterEncoder):
        return Counter(section)
    if isinstance(section, ModbusEncoder):
        return ModbusRegister(section)
    return Simulated(section)
