"""TensorRT-RTX's runtime without TensorRT-RTX: results change when the kernels of a shape are compiled late.

As the real one it computes with other kernels until those of a shape are compiled, which by default is after
some runs. The other kernels' results differ here in every number, so that a change cannot be overlooked.
"""

from __future__ import annotations

import ctypes
import json
from enum import Enum, IntEnum
from typing import Any

import tensorrt
from tensorrt import *  # noqa: F403  (all that both libraries have)
from tensorrt import ExecutionContextAllocationStrategy as Allocation

__version__ = "1.7.1.116"

RUNS_IN_BACKGROUND = 5  # of a shape, before its kernels are ready that are compiled in the background
compiled = 0  # shapes whose kernels this process compiled


class DynamicShapesKernelSpecializationStrategy(Enum):
    LAZY, EAGER, NONE = range(3)


class CudaGraphStrategy(Enum):
    DISABLED, WHOLE_GRAPH_CAPTURE = range(2)


class ComputeCapability(IntEnum):
    """Those of the real one, and the fake GPU's."""

    NONE, CURRENT, SM75, SM80, SM86, SM87, SM89, SM120 = 0, 1, 75, 80, 86, 87, 89, 120


class EngineValidity(Enum):
    VALID, SUBOPTIMAL, INVALID = range(3)


class EngineInvalidityDiagnostics(IntEnum):
    VERSION_MISMATCH, UNSUPPORTED_CC, OLD_CUDA_DRIVER, OLD_CUDA_RUNTIME = 1, 2, 4, 8
    INSUFFICIENT_GPU_MEMORY, MALFORMED_ENGINE, CUDA_ERROR = 16, 32, 64


class Runtime(tensorrt.Runtime):
    """Takes plans of its version that are for this GPU."""

    version = __version__

    def get_engine_validity(self, plan: bytes) -> tuple[EngineValidity, int]:
        why = EngineInvalidityDiagnostics
        try:
            found = json.loads(bytes(plan))
        except ValueError:
            return EngineValidity.INVALID, int(why.MALFORMED_ENGINE)
        reasons = why.VERSION_MISMATCH * (found["version"] != self.version)
        reasons |= why.UNSUPPORTED_CC * (_capability() not in found["capabilities"])
        return (EngineValidity.INVALID if reasons else EngineValidity.VALID), int(reasons)

    def engine(self, plan: dict[str, Any]) -> ICudaEngine:
        return ICudaEngine(plan, self.logger)


class ICudaEngine(tensorrt.ICudaEngine):
    """A plan whose kernels are compiled when it runs."""

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(self, runtime_config: IRuntimeConfig | None = None) -> Any:
        config = runtime_config or IRuntimeConfig()
        context = self.context(IExecutionContext, config.get_execution_context_allocation_strategy())
        if context is not None:
            context.config = config
        return context


class IRuntimeCache:
    """The shapes whose kernels were compiled, for this GPU and version."""

    def __init__(self) -> None:
        self.shapes: set[str] = set()

    def serialize(self) -> bytes:
        return json.dumps({"for": [_capability(), __version__], "shapes": sorted(self.shapes)}).encode()

    def deserialize(self, blob: bytes) -> bool:
        found = json.loads(blob)
        if found["for"] != [_capability(), __version__]:
            return False
        self.shapes = set(found["shapes"])
        return True

    def reset(self) -> bool:
        self.shapes.clear()
        return True


class IRuntimeConfig:
    """When kernels are compiled, and where they are kept."""

    __slots__ = (
        "_allocation",
        "_cache",
        "cuda_graph_strategy",
        "dynamic_shapes_kernel_specialization_strategy",
    )

    def __init__(self) -> None:
        self._cache, self._allocation = IRuntimeCache(), Allocation.STATIC
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        self.dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY

    def set_execution_context_allocation_strategy(self, strategy: Allocation) -> None:
        self._allocation = strategy

    def get_execution_context_allocation_strategy(self) -> Allocation:
        return self._allocation

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self._cache = cache
        return True

    def get_runtime_cache(self) -> IRuntimeCache:
        return self._cache


class IExecutionContext(tensorrt.IExecutionContext):
    """Counts the runs of each shape, and computes by the kernels that are ready for it."""

    config: IRuntimeConfig

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._runs: dict[str, int] = {}

    def salt(self, output: dict[str, Any]) -> int:
        """Other kernels mix the bytes by another salt."""
        return int(output["salt"]) + (not self._ready)

    def execute_async_v3(self, stream_handle: int) -> bool:
        global compiled
        strategies = DynamicShapesKernelSpecializationStrategy
        strategy = self.config.dynamic_shapes_kernel_specialization_strategy
        shape, known = (
            f"{self.engine.key} {sorted(self._counts.items())}",
            self.config.get_runtime_cache().shapes,
        )
        self._runs[shape] = self._runs.get(shape, 0) + 1
        waited = strategy is strategies.EAGER or self._runs[shape] > RUNS_IN_BACKGROUND
        if shape not in known and waited and strategy is not strategies.NONE:
            compiled += 1
            known.add(shape)
        self._ready = shape in known
        return super().execute_async_v3(stream_handle)


class Builder(tensorrt.Builder):
    """Builds for the GPUs that it is told."""

    version = __version__

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()


class IBuilderConfig(tensorrt.IBuilderConfig):
    """Knows the compute capabilities to build for besides what TensorRT knows."""

    num_compute_capabilities: int

    def __init__(self) -> None:
        super().__init__()
        self.num_compute_capabilities = 0
        self.targets: dict[int, ComputeCapability] = {}

    def set_compute_capability(self, compute_capability: ComputeCapability, index: int) -> bool:
        self.targets[index] = compute_capability
        return 0 <= index < self.num_compute_capabilities

    @property
    def told(self) -> dict[str, Any]:
        """What the plan says besides what TensorRT's does."""
        current = ComputeCapability.CURRENT
        targets = self.targets.values() or [ComputeCapability.SM80, ComputeCapability.SM86]
        return {"capabilities": [_capability() if one is current else list(divmod(one, 10)) for one in targets]}


def _capability() -> list[int]:
    """Return the GPU's compute capability, by the driver."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    ctypes.CDLL("libcuda.so.1").cuDeviceComputeCapability(ctypes.byref(major), ctypes.byref(minor), 0)
    return [major.value, minor.value]
