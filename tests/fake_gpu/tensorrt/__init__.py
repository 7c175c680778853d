"""TensorRT's runtime without TensorRT: runs plans in JSON, with arithmetic that the fake driver's kernels do.

A plan says what `plans.py` writes. As the real one it calls the driver by itself, knows nothing of
pycuda, and refuses by logging an error and returning None or False.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import signal
from collections.abc import Sequence
from enum import Enum, IntEnum
from functools import cache
from typing import Any
from weakref import WeakSet

import numpy as np

from .builder import Builder as Builder
from .builder import BuilderFlag as BuilderFlag
from .builder import EngineInspector as EngineInspector
from .builder import IBuilderConfig as IBuilderConfig
from .builder import INetworkDefinition as INetworkDefinition
from .builder import IOptimizationProfile as IOptimizationProfile
from .builder import IProgressMonitor as IProgressMonitor
from .builder import ITensor as ITensor
from .builder import ITimingCache as ITimingCache
from .builder import LayerInformationFormat as LayerInformationFormat
from .builder import MemoryPoolType as MemoryPoolType
from .builder import NetworkDefinitionCreationFlag as NetworkDefinitionCreationFlag
from .builder import OnnxParser as OnnxParser
from .builder import ParserError as ParserError
from .builder import ProfilingVerbosity as ProfilingVerbosity

__version__ = os.environ.get("FAKE_TENSORRT_VERSION", "10.13.3.9")
Builder.version = __version__

_IMAGE = b".version 8.0"  # of the kernels; the fake driver takes any PTX for its library of host functions


class ILogger:
    """What a user derives a logger from."""

    def __init__(self) -> None:
        pass

    class Severity(IntEnum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity: ILogger.Severity, text: str) -> None:
        raise NotImplementedError


class Logger(ILogger):
    """Prints what is at least so severe."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = ILogger.Severity

    def __init__(self, min_severity: ILogger.Severity = ILogger.Severity.WARNING) -> None:
        self.min_severity = min_severity

    def log(self, severity: ILogger.Severity, text: str) -> None:
        if severity <= self.min_severity:
            print(f"[TRT] [{severity.name}] {text}")


class TensorIOMode(Enum):
    NONE, INPUT, OUTPUT = range(3)


class ExecutionContextAllocationStrategy(Enum):
    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)


class DataType(Enum):
    FLOAT, UINT8 = "float32", "uint8"


def nptype(dtype: DataType) -> type:
    return np.dtype(dtype.value).type


class Runtime:
    """Turns plans into engines."""

    version = __version__
    engine_host_code_allowed: bool

    def __init__(self, logger: ILogger) -> None:
        self.logger, self.engine_host_code_allowed = logger, False

    def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
        try:
            found = {"uncapturable": False, **json.loads(bytes(plan))}
        except ValueError:
            self.logger.log(ILogger.Severity.ERROR, "the plan is cut short or is none")
            return None
        if found["version"] != self.version and not (found["portable"] and self.engine_host_code_allowed):
            text = f"the plan was built by version {found['version']}, this library is {self.version}"
            self.logger.log(ILogger.Severity.ERROR, text)
            return None
        if found.get("crashes"):
            os.kill(os.getpid(), signal.SIGSEGV)  # as a library does that reads what it should not
        try:
            return self.engine(found)
        except _DriverError as error:
            self.logger.log(ILogger.Severity.ERROR, str(error))
            return None

    def engine(self, plan: dict[str, Any]) -> ICudaEngine:
        return ICudaEngine(plan, self.logger)


contexts: WeakSet[IExecutionContext] = WeakSet()


class ICudaEngine:
    """A plan whose weights are in device memory."""

    num_io_tensors: int
    num_optimization_profiles: int
    device_memory_size_v2: int

    def __init__(self, plan: dict[str, Any], logger: ILogger) -> None:
        self._plan, self._logger = plan, logger
        self.key = hashlib.sha256(json.dumps(plan).encode()).hexdigest()
        self._tensors: dict[str, dict[str, Any]] = plan["inputs"] | plan["outputs"]
        self._weights = _Memory(plan["weights_bytes"])
        self._kernels: dict[int, dict[str, ctypes.c_void_p]] = {}  # by how many samples they are for
        self.num_io_tensors = len(self._tensors)
        self.profiles: list[list[int]] = plan.get("profiles", [[1, plan["batch"]]])
        self.num_optimization_profiles = len(self.profiles)
        outputs = plan["outputs"].values()
        floats = sum(math.prod(output["shape"]) for output in outputs) * plan["batch"]
        self.device_memory_size_v2 = max(4 * floats, plan["scratch_bytes"])

    def get_tensor_name(self, number: int) -> str:
        return list(self._tensors)[number]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        if name in self._plan["inputs"]:
            return TensorIOMode.INPUT
        return TensorIOMode.OUTPUT if name in self._tensors else TensorIOMode.NONE

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(self._tensors[name]["dtype"])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """The shape of a sample behind a free batch size, which is -1."""
        return (-1, *self._tensors[name]["shape"])

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        """The least, the usual and the largest shape."""
        least, most = self.profiles[profile]
        return [(count, *self._tensors[name]["shape"]) for count in (least, most, most)]

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self._plan)

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC
    ) -> IExecutionContext | None:
        return self.context(IExecutionContext, strategy)

    def context(self, kind: type[IExecutionContext], strategy: ExecutionContextAllocationStrategy) -> Any:
        """Return a context of this class, or None if the GPU has no scratch memory for it."""
        managed = strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        try:
            return kind(self, None if managed else _Memory(self.device_memory_size_v2))
        except _DriverError as error:
            self._logger.log(ILogger.Severity.ERROR, f"no scratch memory: {error}")
            return None

    def kernels_for(self, count: int) -> dict[str, ctypes.c_void_p]:
        """The kernels for so many samples, which are loaded when they are first needed."""
        if count not in self._kernels:
            self._kernels[count] = {name: _kernel(name) for name in ("prepare", "mix", "copy")}
        return self._kernels[count]


class IExecutionContext:
    """One run of an engine at a time, in scratch memory of its own or of the caller's."""

    def __init__(self, engine: ICudaEngine, scratch: _Memory | None) -> None:
        self.engine, self._owned = engine, scratch
        self._scratch = scratch.address if scratch else None
        self._told = _Memory(4)  # for how many samples it was prepared last
        self._prepared = 0
        self._counts: dict[str, int] = {}
        self.runs: list[tuple[int, int]] = []  # of each run, the profile and the number of samples
        contexts.add(self)
        self._addresses: dict[str, int] = {}
        self._profile = 0

    def set_device_memory(self, memory: int, size: int) -> None:
        if memory % 256 or size < self.engine.device_memory_size_v2:
            self._refuse(f"{size} bytes at {memory:#x} are no scratch memory")
        else:
            self._scratch = memory

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Take another profile; the shapes have to be set again."""
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            return self._refuse(f"there is no profile {profile_index}")
        self._profile = profile_index
        self._counts.clear()
        return True

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        plan = self.engine._plan
        known = list(plan["inputs"].get(name, {"shape": ()})["shape"])
        least, most = self.engine.profiles[self._profile]
        if list(shape[1:]) != known or not least <= shape[0] <= most:
            return self._refuse(f"{name}: {tuple(shape)} is outside of {least} to {most} times {known}")
        self._counts[name] = shape[0]
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        if name not in self.engine._tensors or address % 256:
            return self._refuse(
                f"{name}: {address:#x} is no address of a tensor: it has to be a multiple of 256"
            )
        self._addresses[name] = address
        return True

    def infer_shapes(self) -> list[str]:
        """The inputs whose shape is not said."""
        return [name for name in self.engine._plan["inputs"] if name not in self._counts]

    def salt(self, output: dict[str, Any]) -> int:
        """By what an output's bytes are mixed."""
        return int(output["salt"])

    def execute_async_v3(self, stream_handle: int) -> bool:
        plan = self.engine._plan
        missing = [name for name in self.engine._tensors if name not in self._addresses] + self.infer_shapes()
        if missing or len(set(self._counts.values())) != 1:
            return self._refuse(f"not all shapes and addresses are set: {missing or self._counts}")
        count, at = next(iter(self._counts.values())), self._scratch
        self.runs.append((self._profile, count))
        if at is None:
            return self._refuse("there is no scratch memory")
        try:
            kernels = self.engine.kernels_for(count)
            if plan["uncapturable"]:
                _call("cuStreamSynchronize", ctypes.c_void_p(stream_handle))
            if count != self._prepared:
                self._launch(kernels["prepare"], 1, stream_handle, (self._told.address,), (count,))
                self._prepared = count
            for output in plan["outputs"].values():
                elements = math.prod(output["shape"])
                for order, (name, put) in enumerate(plan["inputs"].items()):
                    nbytes = math.prod(put["shape"]) * np.dtype(put["dtype"]).itemsize
                    numbers = (elements, nbytes, self.salt(output) + order, order == 0, plan["poison"])
                    places = (at, self._addresses[name], self._told.address)
                    self._launch(kernels["mix"], count, stream_handle, places, numbers)
                at += 4 * elements * count
            at = self._scratch
            for name, output in plan["outputs"].items():
                nbytes = 4 * math.prod(output["shape"]) * count
                self._launch(kernels["copy"], 1, stream_handle, (self._addresses[name], at), (nbytes,))
                at += nbytes
        except _DriverError as error:
            return self._refuse(str(error))
        return True

    def _launch(
        self,
        kernel: ctypes.c_void_p,
        blocks: int,
        stream: int,
        pointers: Sequence[int],
        numbers: Sequence[int],
    ) -> None:
        values = [*map(ctypes.c_uint64, pointers), *map(ctypes.c_int, numbers)]
        places = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        handle = ctypes.c_void_p(stream)
        _call("cuLaunchKernel", kernel, blocks, 1, 1, 1, 1, 1, 0, handle, places, None)

    def _refuse(self, text: str) -> bool:
        self.engine._logger.log(ILogger.Severity.ERROR, text)
        return False


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


class _DriverError(Exception):
    pass


class _Memory:
    """Device memory for as long as it is held."""

    def __init__(self, nbytes: int) -> None:
        pointer = ctypes.c_uint64()
        _call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(nbytes, 1)))
        self.address = pointer.value

    def __del__(self) -> None:
        if hasattr(self, "address"):
            _driver().cuMemFree_v2(ctypes.c_uint64(self.address))


def _kernel(name: str) -> ctypes.c_void_p:
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _call("cuModuleLoadData", ctypes.byref(module), _IMAGE)
    _call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
    _call("cuModuleUnload", module)  # the functions are of a library that stays
    return function


def _call(name: str, *arguments: Any) -> None:
    code = getattr(_driver(), name)(*arguments)
    if code:
        raise _DriverError(f"{name} failed with CUDA error {code}")
