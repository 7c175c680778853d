"""Reads the state of a Jetson's GPU from sysfs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ...errors import EngineError
from .base import GpuState


def find_jetson(root: Path) -> Jetson | None:
    """Return the GPU if this machine is a Jetson, else None. `root` is the folder that has /sys and /proc."""
    if "nvidia,tegra" not in _text(root / "sys/firmware/devicetree/base/compatible"):
        return None
    # 17000000.gpu on Orin, with JetPack 5 17000000.ga10b, 17000000.gv11b on Xavier, gpu-gpc-0 on Thor
    known = ("gpu", "ga10b", "gv11b", "gp10b")
    nodes = sorted((root / "sys/class/devfreq").glob("*"))
    return next((Jetson(root, node) for node in nodes if any(part in node.name for part in known)), None)


class Jetson:
    """The GPU in a Jetson, read from sysfs as NVIDIA documents it for L4T. This class is untested on a board.

    The GPU uses the machine's memory. Over-current events throttle CPU and GPU for an instant, and the driver
    counts these events. The reason `power` is reported if their number rose since the last reading.
    """

    def __init__(self, root: Path, devfreq: Path) -> None:
        system = root / "sys"
        self.name = f"{devfreq.name} (Jetson)"
        self._root, self._devfreq, self._meminfo = root, devfreq, root / "proc/meminfo"
        self._loads = (
            devfreq / "device/load",
            system / "devices/platform/gpu.0/load",
            system / "devices/gpu.0/load",
        )
        thermal = system / "class/thermal"
        self._temperatures = [path / "temp" for path in _typed(thermal.glob("thermal_zone*"), "gpu-therm")]
        alerts = _typed(thermal.glob("cooling_device*"), "gpu-throttle-alert")
        self._alerts = [path / "cur_state" for path in alerts]
        self._events = sorted(system.glob("class/hwmon/hwmon*/oc*_event_cnt"))
        self._counted: int | None = None

    def read(self) -> GpuState:
        """Return the GPU's state. Raise EngineError if neither load nor temperature nor clock can be read.

        While the GPU sleeps, its driver answers EAGAIN. Then values are missing, but the GPU is not lost.
        """
        clock = self._devfreq / "cur_freq"
        load = _first(self._loads)
        temperature_m = _first(self._temperatures)
        clock_hz = _first([clock])
        known = load is not None or temperature_m is not None or clock_hz is not None
        if not known and not any(_sleeps(path) for path in (*self._loads, *self._temperatures, clock)):
            raise EngineError(f"{self._devfreq}: neither load nor clock can be read: see `dmesg`")
        total, free = self._memory()
        return GpuState(
            memory_used_bytes=None if total is None or free is None else total - free,
            memory_total_bytes=total,
            utilization=None if load is None else load / 1000,
            # A sensor without power reads as far below freezing.
            temperature_c=None if temperature_m is None or temperature_m < -100_000 else temperature_m / 1000,
            clock_hz=clock_hz,
            clock_max_hz=_first([self._devfreq / "max_freq"]),
            throttled=self._throttled(),
        )

    def slow_settings(self) -> list[str]:
        """Return a sentence if the power mode is not MAXN, and one if the GPU's clock may fall."""
        found = []
        slow = _slow_mode(
            _text(self._root / "etc/nvpmodel.conf"), _text(self._root / "var/lib/nvpmodel/status")
        )
        if slow:
            name, number, fastest = slow
            found.append(
                f"the power mode is {name}, not {fastest}: run `sudo nvpmodel -m {number}`, then build the "
                "bundle's engines again, since they belong to one power mode"
            )
        least, most = (_first([self._devfreq / name]) for name in ("min_freq", "max_freq"))
        if least is not None and most is not None and least < most:
            found.append(
                f"the GPU's clock may fall to {least / 1e6:.0f} of {most / 1e6:.0f} MHz between parts, and the "
                "next part takes longer: run `sudo jetson_clocks` at every boot"
            )
        return found

    def _memory(self) -> tuple[int | None, int | None]:
        """Return the machine's total and available memory in bytes. An unknown value is None."""
        kib = dict(re.findall(r"^(MemTotal|MemAvailable): +(\d+) kB$", _text(self._meminfo), re.MULTILINE))
        total, available = (
            int(kib[name]) * 1024 if name in kib else None for name in ("MemTotal", "MemAvailable")
        )
        return total, available

    def _throttled(self) -> frozenset[str] | None:
        if not self._alerts and not self._events:
            return None
        # An event that throttles nothing has a `throt_en` of 0 beside its count.
        counts = [
            _first([path]) or 0
            for path in self._events
            if _first([path.with_name(path.name.replace("event_cnt", "throt_en"))]) != 0
        ]
        counted, self._counted = self._counted, sum(counts)
        found = {"power"} if counted is not None and self._counted > counted else set()
        return frozenset(found | {"thermal" for path in self._alerts if _first([path])})


def _slow_mode(configuration: str, status: str) -> tuple[str, int, str] | None:
    """Return the name of the power mode, and number and name of the fastest one. None if it is the fastest.

    `configuration` is nvpmodel's, with a name for each number. `status` has the number that was set last, as in
    `pmode:0002`; without it the default holds. Boards without a mode MAXN have no fastest one.
    """
    modes = re.findall(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", configuration, re.MULTILINE)
    names = {int(number): name for number, name in modes}
    default = re.search(r"^\s*<\s*PM_CONFIG\s+DEFAULT=(\d+)", configuration, re.MULTILINE)
    now = re.search(r"pmode:(\d+)", status) or default
    name = names.get(int(now[1]), "unknown") if now else "unknown"
    fastest = [(number, known) for number, known in names.items() if known.startswith("MAXN")]
    if name == "unknown" or name.startswith("MAXN") or not fastest:
        return None
    return name, *max(fastest, key=lambda mode: mode[1])


def _typed(paths: Iterable[Path], kind: str) -> list[Path]:
    """Return the folders in `paths` whose file `type` begins with `kind`."""
    return [path for path in sorted(paths) if _text(path / "type").lower().startswith(kind)]


def _first(paths: Iterable[Path]) -> int | None:
    """Return the number in the first of these files that has a number. Return None if no file has one."""
    for path in paths:
        with suppress(ValueError):
            return int(_text(path))
    return None


def _text(path: Path) -> str:
    """Return the text of a file. Return an empty text if reading fails, as it may for a driver's file."""
    try:
        return _read(path)
    except OSError:
        return ""


def _sleeps(path: Path) -> bool:
    """Return whether the driver answers EAGAIN, as it does while this part of the chip has no power."""
    try:
        _read(path)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _read(path: Path) -> str:
    """Return the first 64 KiB of a file as text. Raise OSError if the driver answers with an error.

    Python's buffered files take EAGAIN as "no data yet" and fail with a TypeError.
    """
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(opened, 1 << 16).decode(errors="replace")
    finally:
        os.close(opened)
