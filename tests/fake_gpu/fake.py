"""Reads the counters of this process's fake driver, and makes its device fail."""

from __future__ import annotations

import ctypes
from functools import cache


@cache
def _driver() -> ctypes.CDLL:
    driver = ctypes.CDLL("libcuda.so.1")
    driver.fake_cuda_count.restype = ctypes.c_long
    driver.fake_cuda_count.argtypes = [ctypes.c_char_p]
    driver.fake_cuda_lose_device.argtypes = [ctypes.c_long]
    return driver


def count(what: str) -> int:
    """Return a counter of the driver; see `counted` in its source."""
    return _driver().fake_cuda_count(what.encode())


def live() -> dict[str, int]:
    """Return what was allocated and not freed, by kind."""
    kinds = ("allocations", "host_allocations", "registrations", "streams", "events", "modules", "contexts")
    return {kind: number for kind in kinds if (number := count(kind))}


def lose_device(after_operations: int = 0) -> None:
    """Let this many more operations of the device succeed; after them every call fails."""
    _driver().fake_cuda_lose_device(after_operations)
