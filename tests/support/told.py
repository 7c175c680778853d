"""A line that runs nothing but its metrics, and what such a line may have to tell."""

from prometheus_client import CollectorRegistry

from edge.messages import Running
from edge.monitoring.gpu import GpuState
from edge.monitoring.metrics import Metrics

RUNNING = Running(
    engine="openvino",
    precision="int8",
    left_out={"tensorrt": "no CUDA driver: libcuda.so.1 is missing", "tensorrt_rtx": 'not "installed"'},
)


BUSY = GpuState(
    memory_used_bytes=3 << 30,
    memory_total_bytes=8 << 30,
    utilization=0.62,
    temperature_c=71.5,
    clock_hz=1_530_000_000,
    clock_max_hz=2_100_000_000,
    throttled=frozenset({"thermal"}),
)


class Line:
    """A line's metrics and what they show."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, "board-a", slots=16)

    def __getitem__(self, asked: str) -> float:
        """The value of a sample, asked for as `name` or `name label=value label=value`."""
        name, *labels = asked.split(" ")
        wanted = {"line": "board-a"} | dict(label.split("=") for label in labels)
        value = self.registry.get_sample_value(f"linejudge_{name}", wanted)
        assert value is not None, f"there is no {asked}"
        return value

    def samples(self) -> list:
        return [sample for family in self.registry.collect() for sample in family.samples]
