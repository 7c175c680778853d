"""What is read of a Jetson: from files as L4T's drivers put them under /sys."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_gpu.build import SOURCES

from edge.errors import EngineError
from edge.monitoring.gpu import GpuState, find_gpu
from edge.monitoring.gpu.jetson import Jetson

MIB = 1 << 20


HZ = 1_000_000


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


CONFIGURATION = """\
# < POWER_MODEL ID=id_num NAME=mode_name >
< POWER_MODEL ID=0 NAME=15W >
GPU MAX_FREQ 612000000
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< POWER_MODEL ID=3 NAME=7W >
< PM_CONFIG DEFAULT=1 >
"""
STATUS, MODES = "var/lib/nvpmodel/status", "etc/nvpmodel.conf"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({MODES: CONFIGURATION, STATUS: "pmode:0002 fmode:cool"}, None),
        ({MODES: CONFIGURATION, STATUS: "pmode:0003"}, "the power mode is 7W, not MAXN_SUPER"),
        ({MODES: CONFIGURATION}, "the power mode is 25W, not MAXN_SUPER"),
        ({MODES: CONFIGURATION.replace("MAXN_SUPER", "10W"), STATUS: "pmode:0003"}, None),
        ({}, None),
    ],
    ids=["the fastest", "a slow one", "the default", "a board without MAXN", "no nvpmodel"],
)
def test_a_power_mode_that_is_not_the_fastest_is_named(orin, files, said):
    """With the number that sets the fastest one, which is neither the first nor the last."""
    for path, text in files.items():
        orin[path] = text
    orin["sys/class/devfreq/17000000.gpu/min_freq"] = 1300500000
    found = find_gpu(orin.root).slow_settings()
    assert [each.partition(":")[0] for each in found] == ([said] if said else [])
    if said:
        assert "run `sudo nvpmodel -m 2`, then build the bundle's engines again" in found[0]


def test_a_clock_that_may_fall_is_named(orin):
    """Until `jetson_clocks` makes its lowest value the highest; without the files nothing is claimed."""
    assert find_gpu(orin.root).slow_settings() == []
    orin["sys/class/devfreq/17000000.gpu/min_freq"] = 306000000
    (said,) = find_gpu(orin.root).slow_settings()
    assert said.startswith("the GPU's clock may fall to 306 of 1300 MHz between parts")
    assert said.endswith("run `sudo jetson_clocks` at every boot")
    orin["sys/class/devfreq/17000000.gpu/min_freq"] = 1300500000
    assert find_gpu(orin.root).slow_settings() == []


# The line's own watch over the board; it prints each new state until it was read `times`.
WATCH = """
import json, logging, sys, time
from dataclasses import asdict
from pathlib import Path
from edge.monitoring.gpu import GpuWatch, find_gpu

logging.basicConfig(format="%(message)s")
with GpuWatch(lambda: find_gpu(Path(sys.argv[1])), every_s=0.005) as watch:
    end = time.monotonic() + 30
    while (state := watch.latest()) is None or state.memory_total_bytes is None:
        assert time.monotonic() < end, "nothing was read"
        time.sleep(0.005)
    print(json.dumps([asdict(state), watch._thread.is_alive()], default=sorted))
"""


@pytest.fixture
def asleep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library to preload, by which the kernel seems to answer EAGAIN."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler: apt-get install gcc")
    library = tmp_path_factory.mktemp("asleep") / "asleep.so"
    subprocess.run(
        ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, SOURCES / "asleep.c"], check=True
    )
    return library


@pytest.mark.built
@pytest.mark.parametrize(
    ("part", "missing"),
    [
        ("thermal_zone1/temp", {"temperature_c"}),
        ("17000000.gpu", {"utilization", "clock_hz", "clock_max_hz"}),
        ("sys/class/", {"utilization", "temperature_c", "clock_hz", "clock_max_hz"}),
    ],
    ids=["its sensor", "its clock and load", "all of it"],
)
def test_a_gpu_that_sleeps_is_watched_on(orin, asleep, part, missing):
    """EAGAIN from a driver is a missing value. The watch goes on, and the GPU does not count as lost."""
    environment = {**os.environ, "LD_PRELOAD": str(asleep), "FAKE_ASLEEP": part}
    command = [sys.executable, "-c", WATCH, str(orin.root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    state, watched_on = json.loads(done.stdout)
    values = {"utilization", "temperature_c", "clock_hz", "clock_max_hz"}
    assert {name for name in values if state[name] is None} == missing
    assert watched_on
    assert done.stderr == ""
