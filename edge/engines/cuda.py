"""Opens the GPU by pycuda: its context, pinned host memory, and CUDA's errors as words for a line engineer."""

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

#: Bytes; TensorRT needs its tensors at multiples of it.
ALIGNMENT = 256
#: Flag of a stream that neither waits for the default stream nor makes it wait.
NON_BLOCKING = 1
_DEVICEMAP = 2  # CU_MEMHOSTREGISTER_DEVICEMAP
_NOT_SUPPORTED = 801  # CUDA_ERROR_NOT_SUPPORTED
_REGISTERED_ALREADY = 712  # CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED
_log = logging.getLogger(__name__)
INSTALL = "pip install 'linejudge[gpu]'"


def driver_library() -> Any:
    """Return pycuda's driver module; raise EngineError where pycuda or the driver is missing."""
    if find_spec("pycuda") is None:
        raise EngineError(f"pycuda is not installed: {INSTALL}")
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        # pycuda is linked with the driver, so without a driver its import fails.
        raise EngineError(
            f"there is no NVIDIA driver here ({error}): install the driver, or set engine.kind to 'auto'"
        ) from error
    return cuda


@dataclass(frozen=True, kw_only=True)
class Device:
    """The GPU that this process uses: the first one that CUDA lists."""

    name: str
    compute_capability: tuple[int, int]
    driver: int  # newest CUDA version that the driver supports, 1000 * major + 10 * minor
    integrated: bool  # shares its memory with the CPU, as a Jetson's does


@contextmanager
def open_device() -> Iterator[Device]:
    """Make the GPU's primary context, which TensorRT uses too, current in this thread.

    Raise EngineError where no GPU can be used.
    """
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
        # `detach` also pops the context. After a mere `pop`, pycuda would release it by a call that is not for
        # primary contexts.
        context.detach()


@contextmanager
def driver_errors(what: str) -> Iterator[None]:
    """Raise CUDA's errors as EngineError where memory is short, else as EngineLost.

    Their text begins with `what`, the task. After any other error of an asynchronous call, every later call in
    the process fails too.
    """
    cuda = driver_library()
    try:
        yield
    except cuda.MemoryError as error:
        raise EngineError(f"{what}: the GPU's memory does not suffice: {memory_left(cuda)}") from error
    except cuda.Error as error:
        raise EngineLost(f"{what}: the GPU does not answer: {error}") from error


def memory_left(cuda: Any) -> str:
    """Return the GPU's free and total memory in words, and what to do where it is short."""
    free, total = cuda.mem_get_info()
    return (
        f"{free / 2**20:.0f} of {total / 2**20:.0f} MiB are free: lower engine.lanes or engine.reference_mb, "
        "build for a smaller --batch, or end what else uses the GPU"
    )


class Pinned:
    """Pinned host memory, which the GPU reads by itself: registered memory, and arrays allocated here."""

    def __init__(self, device: Device) -> None:
        self._cuda = driver_library()
        self._mapped = device.integrated
        self._registered: list[tuple[int, int, int]] = []  # start, end, device address
        self._owned: list[ctypes.c_void_p] = []

    def register(self, memory: NDArray[np.uint8]) -> None:
        """Pin page-aligned memory in place; raise EngineError where the system does not allow it."""
        # The driver is called by ctypes, since the process crashes in pycuda 2026.1's own call for this.
        start = ctypes.c_void_p(memory.ctypes.data)
        flags = _DEVICEMAP if self._mapped else 0
        status = _call("cuMemHostRegister_v2", start, ctypes.c_size_t(memory.nbytes), ctypes.c_uint(flags))
        # Some integrated GPUs do not support it.
        if status == _NOT_SUPPORTED:
            _log.warning("this GPU cannot pin the line's shared memory: each picture is copied once more")
            return
        # The engine of another judge of this line may have registered it.
        if status not in (0, _REGISTERED_ALREADY):
            raise EngineError(
                f"cuMemHostRegister: CUDA error {status}: {memory.nbytes / 2**20:.0f} MiB of the line's shared "
                "memory cannot be pinned: raise LimitMEMLOCK"
            )
        if not status:
            self._owned.append(start)
        seen = ctypes.c_uint64()
        if self._mapped and _call("cuMemHostGetDevicePointer_v2", ctypes.byref(seen), start, ctypes.c_uint(0)):
            raise EngineError(
                "cuMemHostGetDevicePointer: the GPU cannot read the line's shared memory: set engine.kind to "
                "'openvino'"
            )
        self._registered.append((memory.ctypes.data, memory.ctypes.data + memory.nbytes, seen.value))

    def holds(self, array: NDArray[Any]) -> bool:
        """Return whether an array of any shape and dtype is contiguous and lies in registered memory."""
        return self._place(array) is not None

    def address(self, array: NDArray[Any]) -> int | None:
        """Return the device's address of an array of any shape and dtype; None where it has to be copied."""
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
        """Return an uninitialised pinned array, and its device address if the GPU shares the CPU's memory."""
        flags = self._cuda.host_alloc_flags.DEVICEMAP if self._mapped else 0
        with driver_errors("allocating pinned memory"):
            array = self._cuda.pagelocked_empty(shape, dtype, mem_flags=flags)
            return array, int(array.base.get_device_pointer()) if self._mapped else None

    def release(self) -> None:
        """Unregister what was registered here; errors are ignored, since a lost GPU has released it already."""
        for start in self._owned:
            _call("cuMemHostUnregister", start)
        self._owned.clear()
        self._registered.clear()


def _call(name: str, *arguments: Any) -> int:
    """Call a function of the driver; return 0 or the number of an error."""
    return int(getattr(ctypes.CDLL("libcuda.so.1"), name)(*arguments))
