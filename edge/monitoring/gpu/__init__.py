"""The state of the machine's GPU: its memory, load, temperature and clock, and what holds the clock down.

NVML tells it, which needs no CUDA context; on a Jetson, of which NVML tells next to nothing, sysfs does. With
several GPUs it is NVML's first, the lowest on the PCI bus; CUDA counts like that under
CUDA_DEVICE_ORDER=PCI_BUS_ID only.
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
    """The machine's GPU, or None; the log says which, or why none. `root` is the folder of /sys and /proc."""
    found = find_jetson(root) or find_nvml()
    if found:
        _log.info("GPU %s: its state is among the metrics", found.name)
    return found
