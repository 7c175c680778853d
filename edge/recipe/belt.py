"""Defines the sections of a recipe about the belt: its encoder, and the ejector at its end."""

from __future__ import annotations

from typing import Annotated, Literal, Union

from msgspec import Meta

from ..endpoints import MOST_PORT
from .keys import Section


class SimulatedEncoder(Section, frozen=True, kw_only=True, tag_field="kind", tag="simulated"):
    """A belt that is computed from the time: its speed and slip, and how it stops and goes back."""

    ticks_per_s: Annotated[float, Meta(gt=0, le=1e6)] = 1000.0
    slip: Annotated[float, Meta(ge=0, le=0.9)] = 0.0  # the speed rises and falls by this share of it
    stop_every_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0  # 0: it never stops
    stop_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    back_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0  # how long it goes back after a stop
    seed: Annotated[int, Meta(ge=0)] = 0


class SerialEncoder(Section, frozen=True, kw_only=True, tag_field="kind", tag="serial"):
    """An encoder that sends its count as lines of text over a serial port."""

    device: Annotated[str, Meta(description="a serial port, such as /dev/ttyACM0")]
    baud: Literal[9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600] = 115200
    bits: Literal[16, 32, 64] = 32  # after which its count starts again


class CounterEncoder(Section, frozen=True, kw_only=True, tag_field="kind", tag="counter"):
    """A counter of the machine itself, as Linux shows it under /sys/bus/counter/devices."""

    device: Annotated[str, Meta(description="a folder such as /sys/bus/counter/devices/counter0/count0")]
    bits: Literal[16, 32, 64] = 32  # after which its count starts again


class ModbusEncoder(Section, frozen=True, kw_only=True, tag_field="kind", tag="modbus"):
    """A register of a PLC or of an encoder that holds the count, read by Modbus TCP."""

    host: str
    port: Annotated[int, Meta(ge=1, le=MOST_PORT)] = 502
    unit: Annotated[int, Meta(ge=0, le=247)] = 1
    register: Annotated[int, Meta(ge=0, le=65_534)]  # its address, counted from 0
    table: Literal["holding", "input"] = "holding"
    bits: Literal[16, 32] = 16  # 32: two registers
    high_first: bool = True  # of 32 bits, the first register holds the upper half


Encoder = Union[SimulatedEncoder, SerialEncoder, CounterEncoder, ModbusEncoder]  # noqa: UP007


class Belt(Section, frozen=True, kw_only=True):
    """What tells where parts are: the time, on a belt with a constant speed, or an encoder."""

    by: Literal["time", "encoder"] = "time"
    encoder: Encoder | None = None
    most_ticks_per_s: Annotated[float, Meta(gt=0)] = 100_000.0  # a faster count: the encoder was reset


class Ejector(Section, frozen=True, kw_only=True):
    """Where rejected parts are blown off, and when the ejector has to be told of them."""

    at: Annotated[float, Meta(gt=0)]  # ms, or ticks of the encoder, behind the first camera
    lead_ms: Annotated[float, Meta(ge=0, le=60000)] = 0.0  # how early it has to be told
    min_gap: Annotated[float, Meta(ge=0)] = 0.0  # it cannot part two parts that are nearer; unit as `at`
