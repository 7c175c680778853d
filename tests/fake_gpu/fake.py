"""Reads the counters of this process's fake driver, sets its virtual time, and makes its device fail."""

from __future__ import annotations

import ctypes
from functools import cache


@cache
def _driver() -> ctypes.CDLL:
    driver = ctypes.CDLL("libcuda.so.1")
    driver.fake_cuda_count.restype = ctypes.c_long
    driver.fake_cuda_count.argtypes = [ctypes.c_char_p]
    driver.fake_cuda_lose_device.argtypes = [ctypes.c_long]
    driver.fake_cuda_calls.restype = ctypes.c_long
    driver.fake_cuda_calls.argtypes = [ctypes.c_char_p, ctypes.c_long]
    driver.fake_cuda_set_cost.argtypes = [ctypes.c_char_p, ctypes.c_double]
    driver.fake_cuda_now.restype = ctypes.c_int64
    driver.fake_cuda_advance.argtypes = [ctypes.c_int64]
    return driver


def count(what: str) -> int:
    """Return a counter of the driver; see `counted` in its source."""
    return _driver().fake_cuda_count(what.encode())


def calls() -> dict[str, int]:
    """Return how often each function of the driver was called, of those that were."""
    text = ctypes.create_string_buffer(_driver().fake_cuda_calls(None, 0))
    _driver().fake_cuda_calls(text, len(text))
    return {name: int(number) for name, number in (line.split() for line in text.value.decode().splitlines())}


def set_costs(**ns: float) -> None:
    """Turn virtual time on, and set what things cost in nanoseconds.

    The names are in `driver/fake_time.h`; a colon is written `__`, as in `kernel__mix`.
    """
    for name, cost in ns.items():
        _driver().fake_cuda_set_cost(name.replace("__", ":").encode(), cost)


def now_ns() -> int:
    """Return the host's virtual clock."""
    return _driver().fake_cuda_now()


def advance(ns: int) -> None:
    """Let the host work for so long in virtual time, while the device works too."""
    _driver().fake_cuda_advance(ns)


def advance_to(ns: int) -> None:
    """Let the host wait until the virtual clock shows `ns`, if it does not yet."""
    advance(max(0, ns - now_ns()))


def live() -> dict[str, int]:
    """Return what was allocated and not freed, by kind."""
    kinds = ("allocations", "host_allocations", "registrations", "streams", "events", "modules", "contexts")
    kinds += ("graphs", "executable_graphs")
    return {kind: number for kind in kinds if (number := count(kind))}


def lose_device(after_operations: int = 0) -> None:
    """Let this many more operations of the device succeed; after them every call fails."""
    _driver().fake_cuda_lose_device(after_operations)
