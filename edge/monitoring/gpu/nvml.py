"""A desktop's or server's GPU, as NVIDIA's management library knows it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from ...errors import EngineError
from .base import THROTTLE_REASONS, GpuState

_log = logging.getLogger(__name__)


def find_nvml() -> Nvml | None:
    """NVML's first GPU, or None; the log says why none."""
    if find_spec("pynvml") is None:
        _log.info("no GPU among the metrics: pynvml is not installed (pip install 'linejudge[gpu]')")
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        name = pynvml.nvmlDeviceGetName(handle)
    except pynvml.NVMLError as error:
        _log.info("no GPU among the metrics: NVML: %s", error)
        return None
    return Nvml(pynvml, name, handle)


class Nvml:
    """A GPU as NVML knows it."""

    def __init__(self, nvml: Any, name: str, handle: object) -> None:
        self.name = name
        self._nvml, self._handle = nvml, handle
        self._thermal = (
            nvml.nvmlClocksEventReasonSwThermalSlowdown | nvml.nvmlClocksEventReasonHwThermalSlowdown
        )
        self._power = nvml.nvmlClocksEventReasonSwPowerCap | nvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
        self._wanted = (  # by whoever set the clocks, or since there is nothing to do
            nvml.nvmlClocksEventReasonGpuIdle
            | nvml.nvmlClocksEventReasonApplicationsClocksSetting
            | nvml.nvmlClocksEventReasonDisplayClockSetting
        )

    def read(self) -> GpuState:
        nvml = self._nvml
        try:
            memory = self._told(nvml.nvmlDeviceGetMemoryInfo)
            rates = self._told(nvml.nvmlDeviceGetUtilizationRates)
            clock_mhz = self._told(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM)
            clock_max_mhz = self._told(nvml.nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_SM)
            reasons = self._told(nvml.nvmlDeviceGetCurrentClocksEventReasons)
            return GpuState(
                memory_used_bytes=memory and memory.used,
                memory_total_bytes=memory and memory.total,
                utilization=rates and rates.gpu / 100,
                temperature_c=self._told(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
                clock_hz=None if clock_mhz is None else clock_mhz * 1_000_000,
                clock_max_hz=None if clock_max_mhz is None else clock_max_mhz * 1_000_000,
                throttled=None if reasons is None else self._throttled(reasons),
            )
        except nvml.NVMLError as error:
            raise EngineError(f"{error}: `nvidia-smi` and `dmesg | grep -i xid` say more") from error

    def _told(self, ask: Callable[..., Any], *what: int) -> Any:
        """The answer, None where this GPU or its driver has none."""
        nvml = self._nvml
        try:
            return ask(self._handle, *what)
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NoPermission):
            return None

    def _throttled(self, reasons: int) -> frozenset[str]:
        """By NVML's NvmlClocksEventReasons; a reason that came later is `other`."""
        nvml = self._nvml
        other = reasons & ~(self._thermal | self._power | self._wanted)
        if reasons & (
            nvml.nvmlClocksEventReasonHwThermalSlowdown | nvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
        ):
            other &= ~nvml.nvmlClocksEventReasonHwSlowdown  # which comes along with either
        masks = zip(THROTTLE_REASONS, (reasons & self._power, reasons & self._thermal, other), strict=True)
        return frozenset(reason for reason, mask in masks if mask)
