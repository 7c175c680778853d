"""The CUDA device by pycuda: its primary context, its memory and its errors, in words for a line engineer."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError, EngineLost

ALIGNMENT = 256  # bytes; TensorRT wants its tensors at multiples of it
NON_BLOCKING = 1  # flag of a stream that goes on beside the default stream: neither waits for the other
_DEVICEMAP = 2  # CU_MEMHOSTREGISTER_DEVICEMAP
_NOT_SUPPORTED = 801  # CUDA_ERROR_NOT_SUPPORTED
_REGISTERED_ALREADY = 712  # CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED
_log = logging.getLogger(__name__)
INSTALL = "pip install 'linejudge[gpu]'"


def driver_library() -> Any:
    """pycuda's module of the driver's calls; EngineError where it or the driver is missing."""
    if find_spec("pycuda") is None:
        raise EngineError(f"pycuda is not installed: {INSTALL}")
    try:
        import pycuda.driver as cuda
    except ImportError as error:  # it is linked with the driver
        raise EngineError(
            f"there is no NVIDIA driver here ({error}): install the driver, or set engine.kind to 'auto'"
        ) from error
    return cuda


@dataclass(frozen=True, kw_only=True)
class Device:
    """The GPU that this process uses, the first one that CUDA shows it."""

    name: str
    compute_capability: tuple[int, int]
    driver: int  # newest CUDA version that the driver takes, 1000 * major + 10 * minor
    integrated: bool  # shares its memory with the CPU, as a Jetson's does


@contextmanager
def open_device() -> Iterator[Device]:
    """Make the GPU's primary context, which TensorRT shares, this thread's; EngineError where there is none."""
    cuda = driver_library()
    try:
        cuda.init()
        found = cuda.Device(0)
        device = Device(
            name=found.name(),
            compute_capability=found.compute_capability(),
            driver=cuda.get_driver_version(),
            integrated=bool(found.get_attribute(cuda.device_attribute.INTEGRATED)),
        )
        context = found.retain_primary_context()
        context.push()
    except cuda.Error as error:
        raise EngineError(
            f"no GPU can be used: {error}: see nvidia-smi, or set engine.kind to 'auto'"
        ) from error
    try:
        yield device
    finally:
        context.detach()  # pops it too; only popped, it is let go by a call for contexts of another kind


@contextmanager
def said(what: str) -> Iterator[None]:
    """Turn the driver's errors into EngineError where memory is short, and else into EngineLost.

    After any other error of an asynchronous call, every later call in the process fails too.
    """
    cuda = driver_library()
    try:
        yield
    except cuda.MemoryError as error:
        raise EngineError(f"{what}: the GPU's memory does not suffice: {memory_left(cuda)}") from error
    except cuda.Error as error:
        raise EngineLost(f"{what}: the GPU does not answer: {error}") from error


def memory_left(cuda: Any) -> str:
    """Free and total memory of the device, and what to do where it is short."""
    free, total = cuda.mem_get_info()
    return (
        f"{free / 2**20:.0f} of {total / 2**20:.0f} MiB are free: lower engine.lanes or engine.reference_mb, "
        "build for a smaller --batch, or end what else uses the GPU"
    )


class Pinned:
    """Host memory that the device reads by itself: what was registered, and what is made for it here."""

    def __init__(self, device: Device) -> None:
        self._cuda = driver_library()
        self._mapped = device.integrated
        self._registered: list[tuple[int, int, int]] = []  # from, to, and where the device sees it
        self._owned: list[ctypes.c_void_p] = []

    def register(self, memory: NDArray[np.uint8]) -> None:
        """Pin page-aligned memory where it is; EngineError where the system does not allow it."""
        # pycuda 2026.1 has a call for this too, with which the process crashes.
        start = ctypes.c_void_p(memory.ctypes.data)
        flags = _DEVICEMAP if self._mapped else 0
        status = _call("cuMemHostRegister_v2", start, ctypes.c_size_t(memory.nbytes), ctypes.c_uint(flags))
        if status == _NOT_SUPPORTED:  # by some integrated GPUs
            _log.warning("this GPU cannot pin the line's shared memory: each picture is copied once more")
            return
        if status not in (0, _REGISTERED_ALREADY):  # by the engine of another judge of this line
            raise EngineError(
                f"cuMemHostRegister: CUDA error {status}: {memory.nbytes / 2**20:.0f} MiB of the line's shared "
                "memory cannot be pinned: is LimitMEMLOCK too low?"
            )
        if not status:
            self._owned.append(start)
        seen = ctypes.c_uint64()
        if self._mapped and _call("cuMemHostGetDevicePointer_v2", ctypes.byref(seen), start, ctypes.c_uint(0)):
            raise EngineError("cuMemHostGetDevicePointer: the GPU does not see the line's shared memory")
        self._registered.append((memory.ctypes.data, memory.ctypes.data + memory.nbytes, seen.value))

    def holds(self, array: NDArray[Any]) -> bool:
        """Whether all of a contiguous array lies in registered memory."""
        return self._place(array) is not None

    def address(self, array: NDArray[Any]) -> int | None:
        """Where the device sees a contiguous array of registered memory; None where it has to be copied."""
        place = self._place(array) if self._mapped else None
        return None if place is None else place[2] + array.ctypes.data - place[0]

    def _place(self, array: NDArray[Any]) -> tuple[int, int, int] | None:
        if not array.flags.c_contiguous:
            return None
        start = array.ctypes.data
        for place in self._registered:
            if place[0] <= start and start + array.nbytes <= place[1]:
                return place
        return None

    def empty(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], int | None]:
        """An array in pinned memory, and where the device sees it, if it shares its memory."""
        flags = self._cuda.host_alloc_flags.DEVICEMAP if self._mapped else 0
        with said("taking pinned memory"):
            array = self._cuda.pagelocked_empty(shape, dtype, mem_flags=flags)
            return array, int(array.base.get_device_pointer()) if self._mapped else None

    def release(self) -> None:
        """Let go of what was registered; a lost device has done so already."""
        for start in self._owned:
            _call("cuMemHostUnregister", start)
        self._owned.clear()
        self._registered.clear()


def _call(name: str, *arguments: Any) -> int:
    """What one of the driver's own calls returns: 0, or the number of an error."""
    return int(getattr(ctypes.CDLL("libcuda.so.1"), name)(*arguments))
