"""Records what a network queues on a stream as a CUDA graph, which one call to the driver launches again.

A network queues 60 to 100 kernels. To launch them one by one can take the CPU longer than a small picture takes
the GPU. A graph reads and writes the addresses with which it was recorded. pycuda has no graphs, so the driver
is called by ctypes. See "CUDA Graphs" in NVIDIA's documentation of CUDA and of TensorRT.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

from ..errors import EngineError, EngineLost
from .cuda import driver_library, memory_left

_THREAD_LOCAL = ctypes.c_int(1)  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may use the GPU meanwhile
_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


class Graph:
    """Work that was recorded on a stream. It is released with this object."""

    def __init__(self, handle: int) -> None:
        self._handle = ctypes.c_void_p(handle)
        weakref.finalize(self, _driver().cuGraphExecDestroy, self._handle).atexit = False

    def launch(self, stream: Any) -> None:
        """Queue the recorded work on a stream. Raise EngineLost if the GPU does not answer."""
        status = _driver().cuGraphLaunch(self._handle, ctypes.c_void_p(stream.handle))
        if status == _OUT_OF_MEMORY:
            raise EngineError(
                f"launching a network: the GPU's memory does not suffice: {memory_left(driver_library())}"
            )
        if status:
            raise EngineLost(f"launching a network: the GPU does not answer: CUDA error {status}")


def record(stream: Any, queue: Callable[[], None]) -> Graph | None:
    """Record what `queue` queues on a stream, which must not be the default stream. Nothing of it runs.

    Return None if CUDA cannot record it, for example because the network waits for the CPU. `queue` may raise
    EngineError for that. The stream can be used as before.
    """
    driver, on = _driver(), ctypes.c_void_p(stream.handle)
    if driver.cuStreamBeginCapture_v2(on, _THREAD_LOCAL):
        return None
    graph, queued = ctypes.c_void_p(), False
    try:
        queue()
        queued = True
    except EngineError:
        pass
    finally:
        # Also if `queue` failed: a stream that still records would run nothing.
        ended = driver.cuStreamEndCapture(on, ctypes.byref(graph))
    executable = ctypes.c_void_p()
    try:
        if ended or not queued:
            return None
        made = driver.cuGraphInstantiateWithFlags(ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        return None if made or executable.value is None else Graph(executable.value)
    finally:
        if graph:
            driver.cuGraphDestroy(graph)


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")
