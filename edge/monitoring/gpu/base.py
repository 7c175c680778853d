"""What a GPU is to the metrics: something with a name whose state can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

THROTTLE_REASONS = ("power", "thermal", "other")


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """What a GPU tells of itself; None is what it does not tell, and a lost one tells nothing at all."""

    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    utilization: float | None = None  # share of the time in which it was busy
    temperature_c: float | None = None
    clock_hz: int | None = None
    clock_max_hz: int | None = None
    throttled: frozenset[str] | None = None  # the THROTTLE_REASONS that hold the clock down


LOST = GpuState()


class Gpu(Protocol):
    name: str

    def read(self) -> GpuState:
        """Its state now; EngineError where it cannot be had any more. May block as long as the driver does."""
        ...
