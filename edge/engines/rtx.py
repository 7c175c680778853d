"""Lets TensorRT-RTX compile all kernels before the first part, and keeps them beside the engine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .sealed import read_sealed, write_sealed

_log = logging.getLogger(__name__)


class Kernels:
    """The kernels that TensorRT-RTX compiles for one engine on this GPU. They must outlive the engine's lanes.

    By default TensorRT-RTX compiles the fast kernels in the background, and computes with others until they are
    ready. So results could change after the golden frames were checked. Here each shape's kernels are compiled
    when it is first run, before its result. See "Working with Dynamic Shapes" and "Working with Runtime Cache"
    in NVIDIA's documentation of TensorRT-RTX.
    """

    def __init__(self, path: Path) -> None:
        """Prepare to keep the kernels in the file `path`, which need not exist."""
        self._path = path
        self._config: Any = None
        self._cache: Any = None
        self._kept = b""

    def context(self, rtx: Any, engine: Any) -> Any:
        """Return a new execution context of the engine, without scratch memory; None if it cannot be made."""
        if self._config is None:
            self._configure(rtx, engine)
        return engine.create_execution_context(runtime_config=self._config)

    def _configure(self, rtx: Any, engine: Any) -> None:
        config = engine.create_runtime_config()
        cache = config and config.create_runtime_cache()
        if cache is None:
            raise EngineError(f"{self._path}: tensorrt_rtx makes no runtime cache: see its messages above")
        config.dynamic_shapes_kernel_specialization_strategy = (
            rtx.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        # The lanes capture graphs of their own.
        config.cuda_graph_strategy = rtx.CudaGraphStrategy.DISABLED
        # The contexts of a lane share their scratch memory.
        config.set_execution_context_allocation_strategy(rtx.ExecutionContextAllocationStrategy.USER_MANAGED)
        known = read_sealed(self._path, "compiling the kernels anew")
        # TensorRT-RTX itself checks that they are of this GPU, driver and version.
        if known and not cache.deserialize(known):
            _log.warning("%s: is of another GPU, driver or version: compiling the kernels anew", self._path)
            known = b""
        if not config.set_runtime_cache(cache):
            raise EngineError(f"{self._path}: tensorrt_rtx takes no runtime cache")
        self._config, self._cache, self._kept = config, cache, known

    def keep(self) -> None:
        """Write the kernels to the file if there are new ones, so that the next start compiles nothing."""
        if self._cache is None:
            return
        memory = self._cache.serialize()
        if memory is None:
            _log.warning("%s: tensorrt_rtx gives no kernels: the next start compiles them again", self._path)
        elif (compiled := bytes(memory)) != self._kept:
            write_sealed(self._path, compiled, "the next start compiles the kernels again")
            self._kept = compiled


def check_valid(rtx: Any, runtime: Any, plan: bytes, name: str) -> None:
    """Raise EngineError, with the reasons, if TensorRT-RTX says that a plan cannot run on this machine.

    It reads the plan's header alone: version, compute capabilities, driver and memory.
    """
    validity, reasons = runtime.get_engine_validity(plan)
    known = rtx.EngineInvalidityDiagnostics.__members__.items()
    said = ", ".join(text.lower().replace("_", " ") for text, bit in known if reasons & int(bit))
    if validity == rtx.EngineValidity.INVALID:
        raise EngineError(
            f"{name} cannot run on this machine ({said or 'tensorrt_rtx does not say why'}): "
            "run `trt-build build` here"
        )
    if validity == rtx.EngineValidity.SUBOPTIMAL:
        _log.warning("%s: may be slow on this GPU (%s): run `trt-build build` here", name, said)
