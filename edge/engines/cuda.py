"""Opens the GPU by pycuda, lets the GPU read the CPU's memory, and turns CUDA's errors into EngineErrors."""

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
from .device_nodes import kept_from

#: TensorRT needs its tensors at addresses that are multiples of this many bytes.
ALIGNMENT = 256
#: Flag of a stream that neither waits for the default stream nor makes it wait.
NON_BLOCKING = 1
_BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC
_DEVICEMAP = 2  # CU_MEMHOSTREGISTER_DEVICEMAP
_NOT_SUPPORTED = 801  # CUDA_ERROR_NOT_SUPPORTED
_REGISTERED_ALREADY = 712  # CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED
_log = logging.getLogger(__name__)
INSTALL = "pip install 'linejudge[gpu]' (on a Jetson 'linejudge[cuda]')"


def driver_library() -> Any:
    """Return pycuda's module `driver`. Raise EngineError if pycuda or the GPU's driver is missing."""
    if find_spec("pycuda") is None:
        raise EngineError(f"pycuda is not installed: {INSTALL}")
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        # pycuda is linked with the driver, so without a driver, or with an older one, its import fails.
        if "undefined symbol" in str(error):
            raise EngineError(
                f"the NVIDIA driver is older than the CUDA toolkit that pycuda was built with ({error}): "
                "install a newer driver, or build pycuda anew with an older toolkit: pip install pycuda"
            ) from error
        raise EngineError(
            f"there is no NVIDIA driver here ({error}): install the driver, or set engine.kind to 'auto'"
        ) from error
    return cuda


@dataclass(frozen=True, kw_only=True)
class Device:
    """The GPU that this process uses. It is the first GPU that CUDA lists.

    CUDA lists the fastest GPU first or, if CUDA_VISIBLE_DEVICES is set, the GPUs that it names, in that order.
    """

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    memory_bytes: int
    driver: int  # newest CUDA version that the driver supports, 1000 * major + 10 * minor
    integrated: bool  # shares its memory with the CPU, as a Jetson's does
    count: int  # of the GPUs that CUDA lists


@contextmanager
def open_device() -> Iterator[Device]:
    """Open the GPU in this thread and yield its description; release the GPU afterwards.

    The GPU's primary context is opened, which TensorRT uses too. Raise EngineError if no GPU can be used.
    """
    cuda = driver_library()
    try:
        cuda.init()
        found = cuda.Device(0)
        device = Device(
            name=found.name(),
            compute_capability=found.compute_capability(),
            multiprocessors=found.get_attribute(cuda.device_attribute.MULTIPROCESSOR_COUNT),
            memory_bytes=found.total_memory(),
            driver=cuda.get_driver_version(),
            integrated=bool(found.get_attribute(cuda.device_attribute.INTEGRATED)),
            count=cuda.Device.count(),
        )
        _let_waits_block()
        context = found.retain_primary_context()
        context.push()
    except cuda.Error as error:
        remedy = kept_from() or "see nvidia-smi"
        raise EngineError(f"no GPU can be used: {error}: {remedy}, or set engine.kind to 'auto'") from error
    try:
        yield device
    finally:
        # `detach` also pops the context. After a mere `pop`, pycuda would release it by a call that is not for
        # primary contexts.
        context.detach()


def _let_waits_block() -> None:
    """Let a thread sleep while it waits for the GPU.

    By default it may spin. With the real-time priority of infer, it would then take its core from all others.
    Since CUDA 11 the flags may also be set while the context is active; they replace the earlier ones.
    """
    status = _call("cuDevicePrimaryCtxSetFlags_v2", ctypes.c_int(0), ctypes.c_uint(_BLOCKING_SYNC))
    if status:
        _log.warning("cuDevicePrimaryCtxSetFlags: CUDA error %d: waits for the GPU may spin", status)


@contextmanager
def driver_errors(what: str) -> Iterator[None]:
    """Within `with`, turn CUDA's errors into EngineError if the GPU's memory is short, else into EngineLost.

    The text of the error begins with `what`, the task that failed. After EngineLost, every later call to the
    GPU in this process fails too.
    """
    cuda = driver_library()
    try:
        yield
    except cuda.MemoryError as error:
        raise EngineError(f"{what}: the GPU's memory does not suffice: {memory_left(cuda)}") from error
    except cuda.Error as error:
        raise EngineLost(f"{what}: the GPU does not answer: {error}") from error


def memory_left(cuda: Any) -> str:
    """Return a text with the GPU's free and total memory, and what to do if the memory does not suffice."""
    free, total = cuda.mem_get_info()
    return (
        f"{free / 2**20:.0f} of {total / 2**20:.0f} MiB are free: lower engine.lanes or engine.reference_mb, "
        "build for a smaller --batch, or end what else uses the GPU"
    )


class Pinned:
    """Pins memory of the CPU, so that the GPU can read and write it without the CPU's help."""

    def __init__(self, device: Device) -> None:
        self._cuda = driver_library()
        self._mapped = device.integrated
        self._registered: list[tuple[int, int, int]] = []  # start, end, device address
        self._owned: list[ctypes.c_void_p] = []

    def register(self, memory: NDArray[np.uint8]) -> None:
        """Pin existing memory, which must be page-aligned. Raise EngineError if the system forbids it."""
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
        """Return whether an array of any shape and dtype is contiguous and in memory that `register` pinned."""
        return self._place(array) is not None

    def address(self, array: NDArray[Any]) -> int | None:
        """Return the GPU's address of an array of any shape and dtype; None if the array must be copied."""
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
        """Return a new pinned array of undefined values, and its GPU address if GPU and CPU share memory."""
        flags = self._cuda.host_alloc_flags.DEVICEMAP if self._mapped else 0
        with driver_errors("allocating pinned memory"):
            array = self._cuda.pagelocked_empty(shape, dtype, mem_flags=flags)
            return array, int(array.base.get_device_pointer()) if self._mapped else None

    def release(self) -> None:
        """Unpin the memory that `register` pinned. Ignore errors, since a lost GPU has already released it."""
        for start in self._owned:
            _call("cuMemHostUnregister", start)
        self._owned.clear()
        self._registered.clear()


def _call(name: str, *arguments: Any) -> int:
    """Call the function `name` of the GPU's driver. Return 0, or the number of CUDA's error if it failed."""
    return int(getattr(ctypes.CDLL("libcuda.so.1"), name)(*arguments))
