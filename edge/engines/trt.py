"""Runs, by TensorRT or TensorRT-RTX, a bundle's engine that `trt-build build` compiled for this GPU."""

from __future__ import annotations

import logging
import traceback
import weakref
from collections.abc import Sequence
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
from .cuda import NON_BLOCKING, Pinned, driver_errors, driver_library, open_device
from .lanes import Features, Lane, laid_out
from .plan import Plan
from .rtx import Kernels
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
        self.starts_cold = True
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

    def _plan(self, role: Role) -> tuple[Plan, int]:
        """Load the engine for a role, judge or reference. Return it and how many samples it takes at once."""
        engine = fitting(self._bundle, role, self.precision, self._here)
        graph = self._bundle.artifact(role, self.precision).read_bytes() if engine.stripped else None
        kernels = self._kernels_of(engine)
        data = read_plan(self._bundle, engine)
        plan = Plan(self._trt, self._logger, engine, data, graph, kernels, self.alone)
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


class _References:
    """Runs the network that computes the features of masters, and keeps the features in the GPU's memory."""

    def __init__(self, plan: Plan, features: Sequence[str]) -> None:
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
    # A driver that hangs must not be asked for the engines of a library that nobody built one for.
    descriptions = [found for _, found in kept(bundle.folder)]
    if not any(isinstance(found, str) or found.target.runtime == runtime for found in descriptions):
        command = (
            f"trt-build build {bundle.folder}{' --runtime tensorrt_rtx' if runtime == 'tensorrt_rtx' else ''}"
        )
        raise EngineError(
            f"{bundle.folder}: expected engines that {runtime} compiled, found none: run `{command}` on this "
            "machine"
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
