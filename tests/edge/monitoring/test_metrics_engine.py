"""What the metrics tell of the engine and of the GPU."""

import os
import signal
import time

import pytest
from prometheus_client import generate_latest
from told import BUSY, RUNNING, Line

from edge.judges.judge import read_line
from edge.line.supervisor import Line as RealLine
from edge.messages import Running
from edge.monitoring.gpu import LOST, GpuState


@pytest.fixture
def line() -> Line:
    return Line()


def test_what_is_running_can_be_read_off(line):
    """After a changeover only the new engine, recipe and bundle are shown."""
    line.metrics.engine(Running(engine="onnxruntime", precision="fp32"), "0" * 64, "0" * 64)
    line.metrics.engine(Running(engine="openvino", precision="int8"), "r" * 64, "b" * 64)
    shown = [sample.labels for sample in line.samples() if sample.name == "linejudge_engine_info"]
    assert shown == [
        {"line": "board-a", "engine": "openvino", "precision": "int8", "recipe": "r" * 64, "bundle": "b" * 64}
    ]


def left_out(line) -> dict[str, str]:
    shown = [sample for sample in line.samples() if sample.name == "linejudge_engine_left_out"]
    assert all(sample.value == 1 for sample in shown)
    return {sample.labels["engine"]: sample.labels["reason"] for sample in shown}


def test_engines_that_were_left_out_say_why_until_they_run(line):
    """The operator reads why the GPU is not used; what a restarted engine no longer says is gone."""
    assert left_out(line) == {}
    line.metrics.engine(RUNNING, "r" * 64, "b" * 64)
    assert left_out(line) == RUNNING.left_out
    after = {"tensorrt_rtx": "no engine was built for this machine"}
    line.metrics.engine(Running(engine="tensorrt", precision="fp16", left_out=after), "r" * 64, "b" * 64)
    assert left_out(line) == after
    line.metrics.engine(Running(engine="tensorrt", precision="fp16"), "r" * 64, "b" * 64)
    assert left_out(line) == {}


def test_a_restarted_engine_says_anew_what_it_is(tmp_path, endless, line):
    """When infer comes up with another engine than before, the one before is no longer shown."""

    def shown() -> str:
        (told,) = [sample.labels for sample in line.samples() if sample.name == "linejudge_engine_info"]
        return told["engine"]

    metrics, (recipe, digest, judges) = line.metrics, read_line(endless())
    heard = []
    with RealLine(recipe, digest, judges, state=tmp_path, metrics=metrics, hear=heard.append) as real:
        assert shown() == "constant"
        metrics.engine(RUNNING, "r" * 64, "b" * 64)
        real.tick()
        assert shown() == "openvino"  # said by nobody anew
        os.kill(real.pid("infer"), signal.SIGKILL)
        end = time.monotonic() + 60
        while shown() != "constant":
            assert time.monotonic() < end
            real.tick()
    assert left_out(line) == {}


def gpu(line) -> dict[str, float]:
    """The GPU's series by name, `throttled` by its reason."""
    return {
        sample.name.removeprefix("linejudge_gpu_") + sample.labels.get("reason", ""): sample.value
        for sample in line.samples()
        if sample.name.startswith("linejudge_gpu_")
    }


def test_the_gpu_is_told_in_bytes_shares_degrees_and_hertz(line):
    """Its state is what was read last, and each reason for a slow clock has its own series."""
    line.metrics.gpu(lambda: BUSY)
    assert gpu(line) == {
        "up": 1,
        "memory_used_bytes": 3 << 30,
        "memory_total_bytes": 8 << 30,
        "utilization_ratio": 0.62,
        "temperature_celsius": 71.5,
        "clock_hertz": 1.53e9,
        "clock_max_hertz": 2.1e9,
        "throttledpower": 0,
        "throttledthermal": 1,
        "throttledother": 0,
    }


def test_a_value_of_nothing_is_told_and_an_unknown_one_is_not(line):
    """An idle GPU is at 0; a GPU that does not tell its temperature has none, least of all 0."""
    line.metrics.gpu(lambda: GpuState(utilization=0.0, throttled=frozenset()))
    assert gpu(line) == {
        "up": 1,
        "utilization_ratio": 0,
        "throttledpower": 0,
        "throttledthermal": 0,
        "throttledother": 0,
    }


def test_a_lost_gpu_leaves_nothing_but_that_it_is_lost(line):
    """No graph goes on with the last value; when the GPU is back, so are its series."""
    states = [BUSY, LOST, BUSY]
    line.metrics.gpu(lambda: states[0])
    assert len(gpu(line)) == 10
    del states[0]
    assert gpu(line) == {"up": 0}
    del states[0]
    assert len(gpu(line)) == 10


def test_a_machine_without_a_gpu_has_no_gpu_metrics(line):
    """Not even their names: alerts on a GPU stay quiet there, and graphs are empty."""
    line.metrics.gpu(lambda: None)
    assert gpu(line) == {}
    assert b"gpu" not in generate_latest(line.registry)
