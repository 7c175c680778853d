"""What the fake driver of this process has counted, and how to make its device fail."""

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
    """How many of these there are now or have been: see `counted` in the driver's source."""
    return _driver().fake_cuda_count(what.encode())


def live() -> dict[str, int]:
    """What was taken of the driver and not given back."""
    kinds = ("allocations", "host_allocations", "registrations", "streams", "events", "modules", "contexts")
    return {kind: number for kind in kinds if (number := count(kind))}


def lose_device(after_operations: int = 0) -> None:
    """Let so many more operations of the device's queues succeed, and then nothing any more."""
    _driver().fake_cuda_lose_device(after_operations)
