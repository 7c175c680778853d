"""What is read of a GPU: by the real pynvml on a library that answers like a driver, or from Jetson files."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from nvml import FakeNvml, needs_compiler

from edge.errors import EngineError
from edge.gpu import LOST, THROTTLE_REASONS, GpuState, GpuWatch, find_gpu
from edge.gpu.jetson import Jetson

MIB = 1 << 20
GIB = 1 << 30
HZ = 1_000_000

# As edge reads it: one line of JSON a reading, each after a line on stdin.
READ = """
import json, logging, sys
from dataclasses import asdict
from pathlib import Path
from edge.errors import EngineError
from edge.gpu import find_gpu

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
from edge.gpu import GpuWatch, find_gpu

with GpuWatch(find_gpu, every_s=0.01) as watch:
    for _ in sys.stdin:
        state = watch.latest()
        print(json.dumps(state and asdict(state), default=sorted), flush=True)
"""


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    return FakeNvml(tmp_path_factory.mktemp("nvml"))


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


@needs_compiler
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


@needs_compiler
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


@needs_compiler
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


@needs_compiler
@pytest.mark.parametrize(("status", "said"), [(15, "GPU is lost"), (999, "Unknown Error")])
def test_a_lost_gpu_is_an_error_that_says_where_to_look(nvml, reader, status, said):
    """A card that fell off the bus is not taken for an idle one; when it answers again it is read again."""
    nvml.tell()
    asked = reader(nvml.environment)
    assert asked.read()["clock_hz"] == 1530 * HZ
    nvml.tell(status=status)
    assert asked.read() == f"{said}: `nvidia-smi` and `dmesg | grep -i xid` say more"
    nvml.tell()
    assert asked.read()["clock_hz"] == 1530 * HZ


@needs_compiler
def test_a_driver_that_hangs_does_not_hang_the_line(nvml, reader):
    """While NVML does not return the line goes on, says that it knows nothing, and can be stopped."""
    nvml.tell()
    watching = reader(nvml.environment, WATCH)
    until(lambda: (watching.read() or {}).get("clock_hz") == 1530 * HZ)
    nvml.tell(hang=1)
    until(lambda: watching.read()["clock_hz"] is None)
    assert watching.end() == ""


@needs_compiler
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
    monkeypatch.setattr("edge.gpu.nvml.find_spec", lambda name: None)
    assert find_gpu(tmp_path) is None
    assert "pynvml is not installed (pip install 'linejudge[gpu]')" in caplog.text


# Jetson: what L4T's drivers put under /sys.

ORIN = {
    "sys/firmware/devicetree/base/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0",
    "sys/class/devfreq/15340000.vic/cur_freq": 729600000,
    "sys/class/devfreq/17000000.gpu/cur_freq": 612000000,
    "sys/class/devfreq/17000000.gpu/max_freq": 1300500000,
    "sys/class/devfreq/17000000.gpu/device/load": 437,
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": 88000,
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
    "sys/class/thermal/thermal_zone1/temp": 54656,
    "sys/class/thermal/cooling_device0/type": "pwm-fan",
    "sys/class/thermal/cooling_device0/cur_state": 2,
    "sys/class/thermal/cooling_device1/type": "cpu-throttle-alert",
    "sys/class/thermal/cooling_device1/cur_state": 1,
    "sys/class/thermal/cooling_device2/type": "gpu-throttle-alert",
    "sys/class/thermal/cooling_device2/cur_state": 0,
    "sys/class/hwmon/hwmon3/oc1_event_cnt": 0,
    "sys/class/hwmon/hwmon3/oc1_throt_en": 1,
    "sys/class/hwmon/hwmon3/oc2_event_cnt": 3,
    "sys/class/hwmon/hwmon3/oc2_throt_en": 0,
    "sys/class/hwmon/hwmon3/oc3_event_cnt": 27390,
    "sys/class/hwmon/hwmon3/oc3_throt_en": 1,
    "proc/meminfo": "MemTotal:       1048576 kB\nMemFree:   10 kB\nMemAvailable:   786432 kB\n",
}


class Board:
    """A folder with a Jetson's files."""

    def __init__(self, root: Path, files: dict[str, str | int]) -> None:
        self.root = root
        for path, text in files.items():
            self[path] = text

    def __setitem__(self, path: str, text: str | int) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text if path.endswith("compatible") else f"{text}\n")


@pytest.fixture
def orin(tmp_path: Path) -> Board:
    return Board(tmp_path, ORIN)


def test_a_jetson_is_read_from_its_files(orin, caplog):
    """Load in per mille, millidegrees and kibibytes become shares, degrees and bytes, and of the GPU only."""
    caplog.set_level(logging.INFO)
    jetson = find_gpu(orin.root)
    assert jetson.read() == GpuState(
        memory_used_bytes=256 * MIB,
        memory_total_bytes=1024 * MIB,
        utilization=0.437,
        temperature_c=54.656,
        clock_hz=612 * HZ,
        clock_max_hz=1_300_500_000,
        throttled=frozenset(),
    )
    assert "GPU 17000000.gpu (Jetson)" in caplog.text


@pytest.mark.parametrize(
    ("node", "load", "zone"),
    [
        ("17000000.ga10b", "sys/class/devfreq/17000000.ga10b/device/load", "GPU-therm"),
        ("17000000.gv11b", "sys/devices/gpu.0/load", "GPU-therm"),
        ("gpu-gpc-0", "sys/devices/platform/gpu.0/load", "gpu-thermal"),
    ],
    ids=["Orin on JetPack 5", "Xavier", "Thor"],
)
def test_other_jetsons_keep_the_same_under_other_names(tmp_path, node, load, zone):
    """Boards and JetPacks name their GPU differently."""
    board = Board(
        tmp_path,
        {
            "sys/firmware/devicetree/base/compatible": "nvidia,tegra",
            f"sys/class/devfreq/{node}/cur_freq": 500 * HZ,
            "sys/class/thermal/thermal_zone4/type": zone,
            "sys/class/thermal/thermal_zone4/temp": 41000,
            load: 1000,
        },
    )
    found = find_gpu(board.root).read()
    assert found == GpuState(utilization=1.0, temperature_c=41.0, clock_hz=500 * HZ)


def test_a_gpu_of_another_maker_is_not_read(orin):
    """Many boards have a device that is called a GPU; engines run on NVIDIA's."""
    orin["sys/firmware/devicetree/base/compatible"] = "rockchip,rk3588\0"
    assert not isinstance(find_gpu(orin.root), Jetson)


def test_a_hot_jetson_is_throttled(orin):
    """The alert of the GPU counts, not that of the CPU and not the fan's speed."""
    jetson = find_gpu(orin.root)
    orin["sys/class/thermal/cooling_device2/cur_state"] = 1
    assert jetson.read().throttled == {"thermal"}
    orin["sys/class/thermal/cooling_device2/cur_state"] = 0
    assert jetson.read().throttled == frozenset()


def test_over_current_is_throttling_while_it_is_counted(orin):
    """What was counted before the line looked, or what throttles nothing, does not show."""
    jetson = find_gpu(orin.root)
    assert jetson.read().throttled == frozenset()
    orin["sys/class/hwmon/hwmon3/oc3_event_cnt"] = 27391
    assert jetson.read().throttled == {"power"}
    assert jetson.read().throttled == frozenset()
    orin["sys/class/hwmon/hwmon3/oc2_event_cnt"] = 4
    assert jetson.read().throttled == frozenset()


def test_a_sensor_without_power_has_no_temperature(orin):
    """A Jetson whose GPU sleeps does not report 256 degrees below zero."""
    orin["sys/class/thermal/thermal_zone1/temp"] = -256000
    assert find_gpu(orin.root).read().temperature_c is None


def test_a_jetson_whose_files_are_gone_is_lost(orin):
    """A driver that was taken away is an error that names the place, not a GPU without load."""
    jetson = find_gpu(orin.root)
    for path in orin.root.glob("sys/class/**/*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(EngineError, match=r"17000000\.gpu: neither load nor clock"):
        jetson.read()


# The watch.


class Asked:
    """A GPU that a test tells what to do."""

    name = "asked"

    def __init__(self) -> None:
        self.state = GpuState(temperature_c=50.0, throttled=frozenset(THROTTLE_REASONS[:1]))
        self.lost = False
        self.answering = threading.Event()
        self.answering.set()

    def read(self) -> GpuState:
        self.answering.wait(60)
        if self.lost:
            raise EngineError("fell off the bus")
        return self.state


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def asked() -> Asked:
    asked = Asked()
    yield asked
    asked.answering.set()


def test_the_watch_follows_the_gpu(asked):
    """What was read last is there to be told."""
    with GpuWatch(lambda: asked, every_s=0.01) as watch:
        until(lambda: watch.latest() == asked.state)
        asked.state = GpuState(temperature_c=60.0)
        until(lambda: watch.latest() == asked.state)


def test_a_lost_gpu_is_logged_once_and_noticed_when_it_is_back(asked, caplog):
    """A GPU that is gone does not fill the log, tells nothing, and never ends the line."""
    caplog.set_level(logging.INFO)
    with GpuWatch(lambda: asked, every_s=0.001) as watch:
        until(lambda: watch.latest() == asked.state)
        for _ in range(2):
            asked.lost = True
            until(lambda: watch.latest() == LOST)
            time.sleep(0.02)  # some more readings
            asked.lost = False
            until(lambda: watch.latest() == asked.state)
    said = ["GPU asked cannot be read: fell off the bus", "GPU asked can be read again"]
    assert [record.message for record in caplog.records] == 2 * said


def test_a_driver_that_hangs_holds_nobody_up_and_keeps_no_old_state(asked):
    """Whoever asks is answered at once, soon with nothing; and the line stops though the driver does not."""
    watch = GpuWatch(lambda: asked, every_s=0.01)
    with watch:
        until(lambda: watch.latest() == asked.state)
        asked.answering.clear()
        until(lambda: watch.latest() == LOST)
    assert not asked.answering.is_set()


def test_without_a_gpu_there_is_nothing_to_tell():
    """The watch ends by itself where there is no GPU."""
    watch = GpuWatch(lambda: None, every_s=60)
    with watch:
        watch._thread.join(30)
        assert watch.latest() is None
        assert not watch._thread.is_alive()
