"""Turns the state of the machine's GPU into Prometheus metrics, read anew at each request."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .base import LOST, THROTTLE_REASONS, GpuState


class GpuMetrics(Collector):
    """The metrics of the GPU. A value that the GPU does not report has no metric.

    If the GPU is lost, there is only `gpu_up`, at 0. An old value or a NaN would look like a reading.
    """

    def __init__(self, line: str, latest: Callable[[], GpuState | None]) -> None:
        self._line, self._latest = line, latest

    def collect(self) -> Iterator[GaugeMetricFamily]:
        state = self._latest()
        if state is None:
            return
        for name, text, value in (
            ("up", "1 while the GPU's state can be read, else 0.", state != LOST),
            (
                "memory_used_bytes",
                "Memory in use by all processes; on a Jetson the machine's.",
                state.memory_used_bytes,
            ),
            ("memory_total_bytes", "Total memory.", state.memory_total_bytes),
            ("utilization_ratio", "Share of the time in which the GPU was busy.", state.utilization),
            ("temperature_celsius", "The GPU's temperature.", state.temperature_c),
            ("clock_hertz", "Clock of the GPU's processors.", state.clock_hz),
            ("clock_max_hertz", "Highest clock that they can reach.", state.clock_max_hz),
        ):
            if value is not None:
                family = GaugeMetricFamily(f"linejudge_gpu_{name}", text, labels=("line",))
                family.add_metric((self._line,), value)
                yield family
        if state.throttled is not None:
            text = "1 while this reason limits the GPU's clock, else 0."
            family = GaugeMetricFamily("linejudge_gpu_throttled", text, labels=("line", "reason"))
            for reason in THROTTLE_REASONS:
                family.add_metric((self._line, reason), reason in state.throttled)
            yield family
