"""Reads the CPU's name and instruction sets, and how many of its cores this process may use.

The instruction sets decide whether INT8 is faster than FP32, whether bfloat16 is computed or emulated, and how
fast the engines are. Their names are those of Linux in `/proc/cpuinfo`.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@cache
def name() -> str:
    """Return the CPU's model name. If Linux gives none, return the architecture, such as `aarch64`."""
    for line in _lines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.machine()


@cache
def instructions() -> frozenset[str]:
    """Return the names of the CPU's instruction sets. The set is empty if Linux lists none."""
    for line in _lines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def computes_bfloat16() -> bool:
    """Return whether the CPU computes bfloat16 itself. Other CPUs emulate it, which is slower than float32."""
    return bool(BFLOAT16 & instructions())


def shortcoming() -> str:
    """Return in words which instructions for fast engines this CPU lacks, or an empty text if it has all."""
    known = instructions()
    if platform.machine() in ("x86_64", "AMD64") and known and "avx2" not in known:
        return f"the processor, {name()}, has no AVX2: engines are much slower here, and untested"
    return ""


def usable_cores() -> int:
    """Return how many cores this process may use.

    These are the cores to which the process is pinned, or fewer if a container's quota is smaller. The quota is
    `cpu.max` of cgroup v2 or `cpu.cfs_quota_us` of v1.
    """
    pinned = len(os.sched_getaffinity(0))
    quota = min((share for share in _quotas() if share > 0), default=float(pinned))
    return max(1, min(pinned, math.ceil(quota)))


def _quotas() -> Iterator[float]:
    """Yield each limit, as a number of cores, that one of this process's control groups sets."""
    for folder in _control_groups():
        try:
            if (folder / "cpu.max").is_file():
                share, period = (folder / "cpu.max").read_text().split()
            else:
                share = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            yield int(share) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            # No limit here: the quota is "max", or there is no such file.
            continue


def _control_groups() -> Iterator[Path]:
    """Yield the folders of this process's control groups and of their parents."""
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = GROUPS / "cpu" if controllers else GROUPS
        folder = root / path.lstrip("/")
        yield folder
        yield from (parent for parent in folder.parents if parent.is_relative_to(root))


def _lines() -> list[str]:
    """Return the lines of `/proc/cpuinfo`. The list is empty if the file cannot be read."""
    try:
        return CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return []
