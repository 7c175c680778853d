"""What the processor of this machine is called, and which instructions it has.

Whether INT8 is faster than FP32, whether bfloat16 is computed or emulated, and whether the engines run at all
depends on them. The names are those of Linux, `/proc/cpuinfo`.
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
#: Multiply and add bytes into 32 bits; without one of them the sums of two products have 16.
INT8_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "asimddp", "i8mm"})
BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@cache
def name() -> str:
    """The model's name as the kernel tells it, or the architecture where it tells none."""
    for line in _lines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.machine()


@cache
def instructions() -> frozenset[str]:
    """The instruction sets that the kernel lists; empty where it lists none."""
    for line in _lines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def multiplies_int8() -> bool:
    """Whether INT8 products are added up in 32 bits, which makes INT8 faster than FP32 on every engine."""
    return bool(INT8_DOT_PRODUCTS & instructions())


def computes_bfloat16() -> bool:
    """Whether bfloat16 is computed; elsewhere it is emulated, and slower than float32."""
    return bool(BFLOAT16 & instructions())


def shortcoming() -> str:
    """What this processor lacks for a line, in words; empty where it lacks nothing."""
    known = instructions()
    if platform.machine() in ("x86_64", "AMD64") and known and "avx2" not in known:
        return f"the processor, {name()}, has no AVX2: engines are much slower here, and were not tried"
    return ""


def usable_cores() -> int:
    """How many cores this process may keep busy: those it is pinned to, or fewer by a container's quota.

    The quota is that of cgroup v2, `cpu.max`, or of v1, `cpu.cfs_quota_us`.
    """
    pinned = len(os.sched_getaffinity(0))
    quota = min((share for share in _quotas() if share > 0), default=float(pinned))
    return max(1, min(pinned, math.ceil(quota)))


def _quotas() -> Iterator[float]:
    """In cores, each limit that a control group sets on this process."""
    for folder in _control_groups():
        try:
            if (folder / "cpu.max").is_file():
                share, period = (folder / "cpu.max").read_text().split()
            else:
                share = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            yield int(share) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue  # no limit here: "max", or no such file


def _control_groups() -> Iterator[Path]:
    """The folders of this process's control groups and of those around them."""
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
    try:
        return CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return []
