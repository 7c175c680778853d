"""What is read of a graphics card: by the real pynvml on a library that answers like a driver."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lines import until

from edge.monitoring.gpu import find_gpu

GIB = 1 << 30


HZ = 1_000_000


# As edge reads it: one line of JSON a reading, each after a line on stdin.
READ = """
import json, logging, sys
from dataclasses import asdict
from pathlib import Path
from edge.errors import EngineError
from edge.monitoring.gpu import find_gpu

logging.basicConfig(level=logging.INFO, format="%(message)s")
gpu = find_gpu(Path(sys.argv[1]))
for _ in sys.stdin:
    try:
        said = gpu and asdict(gpu.read())
    except EngineError as error:
        said = str(error)
    print(json.dumps(said, default=sorted), flush=True)
"""


# As the line watches it.
WATCH = """
import json, sys
from dataclasses import asdict
from edge.monitoring.gpu import GpuWatch, find_gpu

with GpuWatch(find_gpu, every_s=0.01) as watch:
    for _ in sys.stdin:
        state = watch.latest()
        print(json.dumps(state and asdict(state), default=sorted), flush=True)
"""


class Reader:
    """A process that finds the GPU and reads it when asked."""

    def __init__(self, code: str, root: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, root],
            env=os.environ | environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def read(self) -> dict | str | None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        assert said, self._process.stderr.read()
        return json.loads(said)

    def end(self) -> str:
        """What was logged."""
        return self._process.communicate(timeout=30)[1]


@pytest.fixture
def reader(tmp_path: Path) -> Callable[..., Reader]:
    """Starts readers on a machine that is no Jetson, and ends them."""
    pytest.importorskip("pynvml", reason="no pynvml: pip install nvidia-ml-py")
    started = []

    def start(environment: dict[str, str], code: str = READ) -> Reader:
        started.append(Reader(code, tmp_path, environment))
        return started[-1]

    yield start
    for reader in started:
        reader._process.kill()
        reader._process.communicate()


def test_a_graphics_card_tells_all_there_is_to_tell(nvml, reader):
    """Memory, load, temperature and clock come in bytes, shares, degrees and hertz."""
    nvml.tell()
    asked = reader(nvml.environment)
    assert asked.read() == {
        "memory_used_bytes": 3 * GIB,
        "memory_total_bytes": 8 * GIB,
        "utilization": 0.62,
        "temperature_c": 71,
        "clock_hz": 1530 * HZ,
        "clock_max_hz": 2100 * HZ,
        "throttled": [],
    }
    assert "GPU Fake GPU: its state is among the metrics" in asked.end()


def test_why_the_clock_is_held_down_is_told_apart(nvml, reader):
    """Heat and power each have their name; clocks that were set, or have nothing to do, are no throttling."""
    idle, set_clocks, power_cap, slowdown, sync_boost = 0x1, 0x2, 0x4, 0x8, 0x10
    heat, hardware_heat, power_brake, display, later = 0x20, 0x40, 0x80, 0x100, 0x400
    asked = reader(nvml.environment)
    told = {}
    for reasons in (
        idle | set_clocks | display,
        power_cap,
        heat,
        slowdown | hardware_heat,
        slowdown | power_brake,
        slowdown,
        slowdown | heat,
        sync_boost,
        later,
        power_cap | hardware_heat | sync_boost,
    ):
        nvml.tell(reasons=reasons)
        told[reasons] = asked.read()["throttled"]
    assert told == {
        idle | set_clocks | display: [],
        power_cap: ["power"],
        heat: ["thermal"],
        slowdown | hardware_heat: ["thermal"],
        slowdown | power_brake: ["power"],
        slowdown: ["other"],
        slowdown | heat: ["other", "thermal"],
        sync_boost: ["other"],
        later: ["other"],
        power_cap | hardware_heat | sync_boost: ["other", "power", "thermal"],
    }


def test_what_a_card_does_not_support_is_not_made_up(nvml, reader):
    """A value that the GPU has not is absent, never 0; a 0 that it tells is 0."""
    nvml.tell(memory_used=None, utilization=0, temperature=None, clock=0, clock_max=None, reasons=None)
    assert reader(nvml.environment).read() == {
        "memory_used_bytes": None,
        "memory_total_bytes": None,
        "utilization": 0,
        "temperature_c": None,
        "clock_hz": 0,
        "clock_max_hz": None,
        "throttled": None,
    }


@pytest.mark.parametrize(("status", "said"), [(15, "GPU is lost"), (999, "Unknown Error")])
def test_a_lost_gpu_is_an_error_that_says_where_to_look(nvml, reader, status, said):
    """A card that fell off the bus is not taken for an idle one; when it answers again it is read again."""
    nvml.tell()
    asked = reader(nvml.environment)
    assert asked.read()["clock_hz"] == 1530 * HZ
    nvml.tell(status=status)
    assert asked.read() == f"{said}: see `nvidia-smi` and `dmesg | grep -i xid`"
    nvml.tell()
    assert asked.read()["clock_hz"] == 1530 * HZ


def test_a_driver_that_hangs_does_not_hang_the_line(nvml, reader):
    """While NVML does not return the line goes on, says that it knows nothing, and can be stopped."""
    nvml.tell()
    watching = reader(nvml.environment, WATCH)
    until(lambda: (watching.read() or {}).get("clock_hz") == 1530 * HZ, "the GPU is read")
    nvml.tell(hang=1)
    until(lambda: watching.read()["clock_hz"] is None, "the reading is stale")
    assert watching.end() == ""


def test_a_driver_that_is_not_loaded_is_no_gpu(nvml, reader):
    """The line runs, and the log says why there is no GPU."""
    nvml.tell(init=9)
    asked = reader(nvml.environment)
    assert asked.read() is None
    assert "no GPU among the metrics: NVML: Driver Not Loaded" in asked.end()


def test_a_machine_without_a_driver_has_no_gpu(tmp_path, reader):
    """Without NVML's library there are no GPU metrics and no error."""
    if os.path.exists("/proc/driver/nvidia/version"):
        pytest.skip("this machine has a driver")
    asked = reader({})
    assert asked.read() is None
    assert "no GPU among the metrics: NVML: NVML Shared Library Not Found" in asked.end()


def test_a_missing_library_says_what_to_install(tmp_path, monkeypatch, caplog):
    """Who wants the GPU's metrics can copy the command."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("edge.monitoring.gpu.nvml.find_spec", lambda name: None)
    assert find_gpu(tmp_path) is None
    assert "pynvml is not installed (pip install 'linejudge[gpu]')" in caplog.text
