"""Loads an engine of TensorRT from its file, and makes it ready to run on lanes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import EngineError
from .compiled import Compiled
from .cuda import driver_library, memory_left
from .lanes import Binding
from .rtx import Kernels, check_valid


class Plan:
    """An engine that was loaded from its file, with the shapes and dtypes of its inputs and outputs."""

    def __init__(
        self,
        trt: Any,
        logger: Any,
        engine: Compiled,
        plan: bytes,
        graph: bytes | None,
        kernels: Kernels | None,
        alone: bool,
    ) -> None:
        self._trt, self._logger, self._name, self._kernels = trt, logger, engine.file.path, kernels
        self._alone = alone
        # The runtime has to outlive the engine.
        self._runtime = trt.Runtime(logger)
        # A portable plan carries code for the host, a small runtime of its own.
        if engine.portable:
            self._runtime.engine_host_code_allowed = True
        if kernels:
            check_valid(trt, self._runtime, plan, self._name)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self.error("cannot be loaded")
        if graph is not None:
            self._fill_in(graph)
        self.inputs: dict[str, Binding] = {}
        self.outputs: dict[str, Binding] = {}
        for number in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(number)
            inward = self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            (self.inputs if inward else self.outputs)[name] = Binding(
                shape=(1, *tuple(self._engine.get_tensor_shape(name))[1:]),
                dtype=np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))),
            )

    def _fill_in(self, graph: bytes) -> None:
        """Give an engine that was saved without weights the weights in its ONNX graph."""
        refitter = self._trt.Refitter(self._engine, self._logger)
        parser = self._trt.OnnxParserRefitter(refitter, self._logger)
        if not parser.refit_from_bytes(graph) or not refitter.refit_cuda_engine():
            raise self.error("cannot be given its weights")

    def execution(self) -> _Execution:
        """Return the engine, ready to run on one lane. Raise EngineError if the GPU's memory is too small."""
        cuda, nbytes = driver_library(), self._engine.device_memory_size_v2
        try:
            return _Execution(self, cuda.mem_alloc(max(nbytes, 1)))
        except cuda.MemoryError as error:
            raise EngineError(
                f"{self._name} needs {nbytes / 2**20:.0f} MiB of scratch memory for a lane; {memory_left(cuda)}"
            ) from error

    def context(self, count: int, scratch: Any, stream: Any) -> Any:
        """Return a new execution context for `count` samples, which computes in the memory `scratch`.

        What has to be copied for its profile is queued on the stream.
        """
        if self._kernels:
            context = self._kernels.context(self._trt, self._engine)
        else:
            managed = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
            context = self._engine.create_execution_context(managed)
        if context is None:
            raise self.error(f"cannot be prepared for {count} samples")
        profile = self._profile(count)
        # A context starts with the first profile.
        if profile and not context.set_optimization_profile_async(profile, stream.handle):
            raise self.error(f"does not take its profile {profile}")
        for name, put in self.inputs.items():
            if not context.set_input_shape(name, (count, *put.shape[1:])):
                raise self.error(f"does not take {count} samples at once")
        context.set_device_memory(int(scratch), self._engine.device_memory_size_v2)
        return context

    def _profile(self, count: int) -> int:
        """Return the number of the profile for `count` samples. Of two, the first is for one sample alone."""
        return 0 if count == 1 and self._alone else int(self._engine.num_optimization_profiles) - 1

    def error(self, what: str) -> EngineError:
        return EngineError(f"{self._name} {what}: {self._logger.last_error or 'TensorRT does not say why'}")


class _Execution:
    """An engine that is ready to run on one lane.

    Each number of samples has a context of its own, since a graph of a context's run is valid only until the
    context takes another shape. The contexts share scratch memory, since a lane runs one after the other. Both
    are what NVIDIA advises for graphs (github.com/NVIDIA/TensorRT/issues/3798).
    """

    def __init__(self, plan: Plan, scratch: Any) -> None:
        self._plan, self._scratch = plan, scratch
        self._contexts: dict[int, Any] = {}
        # For each number of samples, the addresses that its context knows.
        self._known: dict[int, dict[str, int]] = {}

    def enqueue(self, count: int, addresses: Mapping[str, int], stream: Any) -> None:
        if count not in self._contexts:
            self._contexts[count], self._known[count] = self._plan.context(count, self._scratch, stream), {}
        context, known = self._contexts[count], self._known[count]
        for name, address in addresses.items():
            if known.get(name) != address:
                if not context.set_tensor_address(name, address):
                    raise self._plan.error(f"does not take {name} at {address:#x}")
                known[name] = address
        if not context.execute_async_v3(stream.handle):
            raise self._plan.error("cannot be run")
