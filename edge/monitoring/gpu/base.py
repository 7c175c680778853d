"""Defines a GPU as the metrics see it: a name, and a state that can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

THROTTLE_REASONS = ("power", "thermal", "other")


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """One reading of a GPU. A value that the GPU does not report is None. If the GPU is lost, all are None."""

    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    utilization: float | None = None  # share of the time in which the GPU was busy, 0 to 1
    temperature_c: float | None = None
    clock_hz: int | None = None
    clock_max_hz: int | None = None
    throttled: frozenset[str] | None = None  # the THROTTLE_REASONS that limit the clock


LOST = GpuState()


class Gpu(Protocol):
    """A GPU whose state can be read."""

    name: str

    def read(self) -> GpuState:
        """Return the GPU's state. Raise EngineError if it cannot be read. Blocks as long as the driver does."""
        ...

    def slow_settings(self) -> list[str]:
        """Return a sentence for each setting that makes the GPU slower than it can be, with what to run."""
        ...
