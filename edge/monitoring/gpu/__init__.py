"""Reads the state of the machine's GPU: its memory, load, temperature and clock, and what limits the clock.

The state comes from NVML, which needs no CUDA context. On a Jetson it comes from sysfs, since NVML reports
almost nothing there. If there are several GPUs, the one that CUDA uses is read: the fastest or, if it is set,
the first of CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import logging
from pathlib import Path

from .base import LOST, THROTTLE_REASONS, Gpu, GpuState
from .jetson import find_jetson
from .nvml import find_nvml
from .watch import GpuWatch

__all__ = ["LOST", "THROTTLE_REASONS", "Gpu", "GpuState", "GpuWatch", "find_gpu"]

_log = logging.getLogger(__name__)


def find_gpu(root: Path = Path("/")) -> Gpu | None:
    """Return the machine's GPU, or None if there is none. `root` is the folder that has /sys and /proc."""
    found = find_jetson(root) or find_nvml()
    if found:
        _log.info("GPU %s: its state is among the metrics", found.name)
    return found
