"""Reads the state of a desktop's or server's GPU from NVIDIA's management library, NVML."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from ...errors import EngineError
from .base import THROTTLE_REASONS, GpuState
from .chosen import chosen_address

_log = logging.getLogger(__name__)

PERSISTENCE = (
    "persistence mode is off, so each start of the line loads the driver anew: run `sudo nvidia-smi -pm 1` at "
    "every boot, or enable nvidia-persistenced"
)


def find_nvml() -> Nvml | None:
    """Return the GPU that CUDA uses. If there is none, return None and log the reason."""
    if find_spec("pynvml") is None:
        _log.info("no GPU among the metrics: pynvml is not installed (pip install 'linejudge[gpu]')")
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        handle = _handle(pynvml)
        if handle is None:
            return None
        name = pynvml.nvmlDeviceGetName(handle)
    except pynvml.NVMLError as error:
        _log.info("no GPU among the metrics: NVML: %s", error)
        return None
    return Nvml(pynvml, name, handle)


def _handle(nvml: Any) -> object | None:
    """Return NVML's handle of the GPU that CUDA uses, or None if CUDA uses none."""
    if nvml.nvmlDeviceGetCount() == 1 and "CUDA_VISIBLE_DEVICES" not in os.environ:
        return nvml.nvmlDeviceGetHandleByIndex(0)  # type: ignore[no-any-return]
    address = chosen_address()
    return None if address is None else nvml.nvmlDeviceGetHandleByPciBusId(address)


class Nvml:
    """A GPU whose state is read from NVML."""

    def __init__(self, nvml: Any, name: str, handle: object) -> None:
        self.name = name
        self._nvml, self._handle = nvml, handle
        self._thermal = (
            nvml.nvmlClocksEventReasonSwThermalSlowdown | nvml.nvmlClocksEventReasonHwThermalSlowdown
        )
        self._power = nvml.nvmlClocksEventReasonSwPowerCap | nvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
        # The clock is low because somebody set it, or because there is nothing to do.
        self._wanted = (
            nvml.nvmlClocksEventReasonGpuIdle
            | nvml.nvmlClocksEventReasonApplicationsClocksSetting
            | nvml.nvmlClocksEventReasonDisplayClockSetting
        )

    def read(self) -> GpuState:
        """Return the GPU's state. Raise EngineError if NVML fails."""
        nvml = self._nvml
        try:
            memory = self._ask(nvml.nvmlDeviceGetMemoryInfo)
            rates = self._ask(nvml.nvmlDeviceGetUtilizationRates)
            clock_mhz = self._ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM)
            clock_max_mhz = self._ask(nvml.nvmlDeviceGetMaxClockInfo, nvml.NVML_CLOCK_SM)
            reasons = self._ask(nvml.nvmlDeviceGetCurrentClocksEventReasons)
            return GpuState(
                memory_used_bytes=memory and memory.used,
                memory_total_bytes=memory and memory.total,
                utilization=rates and rates.gpu / 100,
                temperature_c=self._ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
                clock_hz=None if clock_mhz is None else clock_mhz * 1_000_000,
                clock_max_hz=None if clock_max_mhz is None else clock_max_mhz * 1_000_000,
                throttled=None if reasons is None else self._throttled(reasons),
            )
        except nvml.NVMLError as error:
            raise EngineError(f"{error}: see `nvidia-smi` and `dmesg | grep -i xid`") from error

    def slow_settings(self) -> list[str]:
        """Return a sentence if persistence mode is off. NVML does not tell whether clocks are locked."""
        nvml = self._nvml
        try:
            off = self._ask(nvml.nvmlDeviceGetPersistenceMode) == nvml.NVML_FEATURE_DISABLED
        except nvml.NVMLError:
            return []
        return [PERSISTENCE] if off else []

    def _ask(self, call: Callable[..., Any], *what: int) -> Any:
        """Return NVML's answer to `call`. Return None if this GPU or its driver has no answer."""
        nvml = self._nvml
        try:
            return call(self._handle, *what)
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NoPermission):
            return None

    def _throttled(self, reasons: int) -> frozenset[str]:
        """Convert NVML's bits `reasons` to THROTTLE_REASONS. A reason that is not known here is `other`."""
        nvml = self._nvml
        other = reasons & ~(self._thermal | self._power | self._wanted)
        if reasons & (
            nvml.nvmlClocksEventReasonHwThermalSlowdown | nvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
        ):
            # NVML reports this reason together with either of the two.
            other &= ~nvml.nvmlClocksEventReasonHwSlowdown
        masks = zip(THROTTLE_REASONS, (reasons & self._power, reasons & self._thermal, other), strict=True)
        return frozenset(reason for reason, mask in masks if mask)
