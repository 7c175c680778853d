"""Runs, by TensorRT or TensorRT-RTX, a bundle's engine that `trt-build build` compiled for this GPU."""

from __future__ import annotations

import logging
import traceback
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from ..bundle import Model
from ..errors import EngineError
from ..image.kernel import fatbin
from ..manifest import Precision, Role
from ..recipe import Runtime
from .base import Image, Outputs, Reference, Sample, check_samples
from .compiled import ENGINES, Compiled, fitting, kept, read_plan
from .cuda import NON_BLOCKING, Pinned, driver_errors, driver_library, memory_left, open_device
from .lanes import Binding, Features, Lane, laid_out
from .rtx import Kernels, check_valid
from .trt_library import check_installed, load_runtime, logger, nothing_collected, target
from .warping import Warping

_log = logging.getLogger(__name__)


class TensorRT:
    """Runs the bundle's TensorRT engine for this GPU. It never compiles an engine, since that takes minutes."""

    runtime: Runtime = "tensorrt"
    #: Whether one sample is run by kernels that were chosen for one alone, if the engine has such.
    alone = True

    def __init__(self, bundle: Model, precision: Precision, lanes: int, threads: int) -> None:
        self.name: str = self.runtime
        self.precision, self.lanes, self.batch, self.warps_frames = precision, lanes, 1, False
        self.most_samples = 1
        # CUDA has no wait with a time limit.
        self.waits = False
        self._bundle = bundle

    def __enter__(self) -> TensorRT:
        with ExitStack() as opened, nothing_collected():
            device = opened.enter_context(open_device())
            opened.push(_let_go)
            self._trt = load_runtime(self.runtime)
            self._logger = logger(self._trt)
            self._here = target(self.runtime, self._trt, device)
            opened.callback(self._release)
            self._pinned = Pinned(device)
            opened.callback(self._pinned.release)
            judge, self.batch = self._plan("judge")
            self.most_samples = self.batch
            features = self._bundle.manifest.features
            warp = self._kernel()
            self.warps_frames = warp is not None
            self._references = _References(self._plan("reference")[0], features) if features else None
            self._lanes = [
                Lane(
                    judge.execution(),
                    self._pinned,
                    image=judge.inputs["image"],
                    features={name: judge.inputs[name] for name in features},
                    outputs={name: judge.outputs[name] for name in self._bundle.manifest.outputs},
                    batch=self.batch,
                    warp=warp,
                )
                for _ in range(self.lanes)
            ]
            self._warm()
            self._opened = opened.pop_all()
        return self

    def _warm(self) -> None:
        """Run every lane with each number of samples, and say once why it is slower than it could be."""
        if any(whys := [lane.warm() for lane in self._lanes]):
            _log.warning("%s: %s: its kernels are launched one by one", self.name, max(whys))

    def _plan(self, role: Role) -> tuple[_Plan, int]:
        """Load the engine for a role, judge or reference. Return it and how many samples it takes at once."""
        engine = fitting(self._bundle, role, self.precision, self._here)
        graph = self._bundle.artifact(role, self.precision).read_bytes() if engine.stripped else None
        kernels = self._kernels_of(engine)
        data = read_plan(self._bundle, engine)
        plan = _Plan(self._trt, self._logger, engine, data, graph, kernels, self.alone)
        _log.info("%s: %s, batches of up to %d", self.name, engine.file.path, engine.batch)
        return plan, engine.batch

    def _kernels_of(self, engine: Compiled) -> Kernels | None:
        """Return where the kernels are kept that are compiled when the engine runs. TensorRT compiles none."""
        return None

    def _kernel(self) -> Warping | None:
        """Return what warps frames on the GPU; None if `trt-build build` could not compile the kernel."""
        path = fatbin(self._bundle.folder / ENGINES)
        if path is None:
            _log.info("%s: the CPU warps the frames: %s holds no kernels", self.name, self._bundle.folder)
            return None
        with driver_errors(f"loading {path}"):
            self._kernels = driver_library().module_from_file(str(path))
            self._warping = Warping(self._kernels.get_function("warp"), self._pinned)
        return self._warping

    def __exit__(self, kind: type[BaseException] | None = None, *rest: object) -> None:
        self._opened.close()

    def _release(self) -> None:
        # Before the device's context is released, and in this order: lanes use what plans own.
        for name in ("_lanes", "_references", "_warping", "_kernels", "_pinned"):
            if hasattr(self, name):
                delattr(self, name)

    def pin(self, memory: Image) -> None:
        self._pinned.register(memory)

    def reference(self, master: Image) -> Reference:
        self._bundle.manifest.input.check("master", master)
        if self._references is None:
            raise EngineError(f"{self._bundle.manifest.name} judges a part without a master")
        return self._references.make(master)

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        check_samples(self._bundle.manifest, self.batch, samples)
        on = self._lanes[lane]
        if on.busy:
            raise EngineError(f"lane {lane} is busy: collect it first")
        on.submit(samples)

    def ready(self, lane: int, timeout_s: float = 0.0) -> bool:
        return self._busy(lane).ready()

    def collect(self, lane: int) -> list[Outputs]:
        return self._busy(lane).collect()

    def _busy(self, lane: int) -> Lane:
        on = self._lanes[lane]
        if not on.busy:
            raise EngineError(f"lane {lane} is idle: submit to it first")
        return on


def _let_go(kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
    """Free what failed functions had made, to which an error refers, while the GPU is still open."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


class TensorRTRTX(TensorRT):
    """Runs engines of TensorRT-RTX. They are compiled without a GPU, and finished for the GPU when loaded."""

    runtime: Runtime = "tensorrt_rtx"

    def __init__(self, bundle: Model, precision: Precision, lanes: int, threads: int) -> None:
        super().__init__(bundle, precision, lanes, threads)
        self._kernels_kept: list[Kernels] = []

    def _kernels_of(self, engine: Compiled) -> Kernels | None:
        self._kernels_kept.append(Kernels(self._bundle.folder / ENGINES / engine.kernels))
        return self._kernels_kept[-1]

    def _warm(self) -> None:
        super()._warm()
        # By now they are compiled for every number of samples.
        for kernels in self._kernels_kept:
            kernels.keep()

    def __exit__(self, kind: type[BaseException] | None = None, *rest: object) -> None:
        # Those for masters are compiled with the first one. A lost GPU answers nothing any more.
        if kind is None:
            for kernels in self._kernels_kept:
                kernels.keep()
        self._kernels_kept.clear()
        super().__exit__(kind, *rest)


class _Plan:
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

    def __init__(self, plan: _Plan, scratch: Any) -> None:
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


class _References:
    """Runs the network that computes the features of masters, and keeps the features in the GPU's memory."""

    def __init__(self, plan: _Plan, features: Sequence[str]) -> None:
        self._cuda = cuda = driver_library()
        self._execution, self._features = plan.execution(), {name: plan.outputs[name] for name in features}
        self._master = plan.inputs["master"]
        self._offsets, nbytes = laid_out(self._features, 1)
        self._nbytes = self._master.room + nbytes
        # Device memory, released with the engine even where features in it are still referenced.
        self._memory: list[Any] = []
        # Addresses in that memory that no features use any more.
        self._free: list[int] = []
        with driver_errors("preparing for masters"):
            self._stream, self._done = cuda.Stream(NON_BLOCKING), cuda.Event(cuda.event_flags.BLOCKING_SYNC)

    def make(self, master: Image) -> Features:
        """Return the features of a master. `master` is its input as `(1, C, H, W)` uint8."""
        with driver_errors("computing the features of a master"):
            # Allocating and freeing make the device wait for all lanes, so memory is reused.
            if not self._free:
                self._memory.append(self._cuda.mem_alloc(self._nbytes))
                self._free.append(int(self._memory[-1]))
            at = self._free.pop()
            addresses = {name: at + self._master.room + offset for name, offset in self._offsets.items()}
            self._cuda.memcpy_htod_async(at, np.ascontiguousarray(master), self._stream)
            self._execution.enqueue(1, {"master": at, **addresses}, self._stream)
            self._done.record(self._stream)
            self._done.synchronize()
        features = Features(at, addresses, self._nbytes)
        weakref.finalize(features, self._free.append, at).atexit = False
        return features


#: How another GPU is chosen, if there are several.
CHOOSE = "to use another one, set CUDA_VISIBLE_DEVICES to its UUID (see `nvidia-smi -L`)"


def built_engines(runtime: Runtime, bundle: Model) -> dict[Precision, Compiled]:
    """Return the judge's engines that run here, by precision. Raise EngineError if there are none."""
    check_installed(runtime)
    if not any(kept(bundle.folder)):
        raise EngineError(
            f"{bundle.folder}: expected compiled engines, found none: run `trt-build build {bundle.folder}` on "
            "this machine"
        )
    with open_device() as device:
        here = target(runtime, load_runtime(runtime), device)
    roles: tuple[Role, ...] = ("judge", "reference") if bundle.manifest.features else ("judge",)
    found: dict[Precision, Compiled] = {}
    errors: list[EngineError] = []
    for precision in bundle.manifest.precisions():
        try:
            fit = {role: fitting(bundle, role, precision, here) for role in roles}
        except EngineError as error:
            errors.append(error)
        else:
            found[precision] = fit["judge"]
    if not found:
        others = f"; {device.name} is the first of {device.count} GPUs: {CHOOSE}" if device.count > 1 else ""
        raise EngineError(f"{errors[0]}{others}")
    return found
