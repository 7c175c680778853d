"""Builds engines from a bundle's graphs for this machine, and keeps the engines that pass a check."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from msgspec import structs

from edge.bundle import Bundle, Draft, Model
from edge.engines import open_engine
from edge.engines.base import Engine
from edge.engines.compiled import ENGINES, Compiled, Measured, Target, kept
from edge.engines.cuda import Device, open_device
from edge.engines.trt import built_engines
from edge.engines.trt_library import PACKAGES, load_runtime, target
from edge.errors import EngineError
from edge.image.kernel import fatbin
from edge.manifest import ModelManifest, Precision
from edge.recipe import EngineChoice, Runtime
from trt_build.data.cases import evenly
from trt_build.engines.builder_config import FIRST_WITH_FP8
from trt_build.engines.kernels import compile_kernels
from trt_build.engines.tensorrt_builder import (
    BuildOptions,
    Built,
    build_engine,
    files_of,
    write_description,
)
from trt_build.engines.timing import measured
from trt_build.engines.verify import Comparison, check_draft, noise, verify

if TYPE_CHECKING:
    from trt_build.methods.base import Method

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
#: Folder in the bundle that holds new engines until they are checked.
PART = "engines.part"
#: Number of pictures on which an engine of a draft is checked.
PICTURES = 16

#: Compares an engine of the bundle with its reference; raises EngineError if the engine judges otherwise.
Check = Callable[[Model, EngineChoice], Comparison | None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Result:
    """The engines that were built in one precision, and the result of their check.

    `found` is the comparison with the reference, if there was one. `measured` is the judge's time. `refused`
    says why the engines failed the check and were deleted; it is empty if they passed.
    """

    precision: Precision
    built: Sequence[Built]
    found: Comparison | None = None
    refused: str = ""
    measured: Measured | None = None  # None without a GPU


def chosen_runtime(asked: Literal["auto"] | Runtime) -> Runtime:
    """Return `asked` or, for "auto", the first TensorRT library of RUNTIMES that is installed."""
    if asked != "auto":
        return asked
    for runtime in RUNTIMES:
        if find_spec(runtime):
            return runtime
    either = ", or ".join(PACKAGES[runtime] for runtime in RUNTIMES)
    raise EngineError(f"neither tensorrt nor tensorrt_rtx is installed: {either}")


@contextmanager
def target_here(runtime: Runtime) -> Iterator[Target]:
    """Yield what engines are built for: the TensorRT library and this machine's GPU, open in the `with` block.

    If there is no GPU, raise EngineError for tensorrt, but let tensorrt_rtx build for the GPUs that it knows.
    """
    with ExitStack() as opened:
        device: Device | None = None
        try:
            device = opened.enter_context(open_device())
        except EngineError as error:
            if runtime == "tensorrt":
                raise EngineError(
                    f"{error}; an engine of tensorrt is built on the device that it is to run on: build there, "
                    "or with --runtime tensorrt_rtx"
                ) from error
            _log.info("built for the GPUs that tensorrt_rtx knows, since none is here: %s", error)
        version = load_runtime(runtime).__version__
        if device is None:
            yield Target(runtime=runtime, version=version, compute_capability=None, driver=None)
        else:
            yield target(runtime, load_runtime(runtime), device)


def chosen_precisions(bundle: Model, asked: Sequence[str], here: Target) -> list[Precision]:
    """Return the precisions to build engines in: those in `asked` or, if `asked` is empty, all useful ones.

    All precisions of the bundle that the GPU can compute are useful, but FP32 only if there is no other, and
    INT8 only if there is none with FP16. Raise EngineError if the bundle lacks a graph in a precision in
    `asked`.
    """
    known = bundle.manifest.precisions()
    if not known:
        raise EngineError(f"{bundle.folder}: holds no graph, so there is nothing to build")
    if missing := [precision for precision in asked if precision not in known]:
        raise EngineError(
            f"{bundle.folder}: holds no {missing[0]} graph: it comes in {', '.join(known)}: "
            "export it anew, or leave --precision out"
        )
    if asked:
        return [precision for precision in known if precision in asked]
    old = here.compute_capability is not None and here.compute_capability < FIRST_WITH_FP8
    # They round the same convolutions, and a GPU computes the rest faster in FP16 than in FP32.
    slow = "int8" if "int8_fp16" in known else None
    fit = [precision for precision in known if not (precision == "fp8" and old) and precision != slow]
    return [precision for precision in fit if precision != "fp32"] or fit


def build_engines(
    bundle: Model, precisions: Sequence[Precision], here: Target, options: BuildOptions, check: Check | None
) -> Iterator[Result]:
    """Build and check the engines of each precision, and yield one result for each precision.

    Engines that pass the check are kept in the bundle; engines that fail are deleted. `check` is None if this
    machine has no GPU; then all engines are kept unchecked. In any case, a line checks its engine on the golden
    frames before the first part.
    """
    if options.portable and here.runtime == "tensorrt_rtx":
        raise EngineError("tensorrt_rtx has no engines that its later versions take: build without --portable")
    trt = load_runtime(here.runtime)
    for precision in precisions:
        with _alone(bundle) as part:
            built = [
                build_engine(
                    bundle, role, precision, part.folder / ENGINES, trt=trt, target=here, options=options
                )
                for role in reversed(bundle.manifest.roles)
            ]
            for known in (one.engine for one in built if one.up_to_date):
                _move(known, bundle.folder / ENGINES, part.folder / ENGINES, shutil.copyfile)
            found = timed = None
            choice = EngineChoice(kind=here.runtime, precision=precision)
            try:
                if check:
                    found = check(part, choice)
                    timed = measured(part, choice) if here.compute_capability else None
            except EngineError as error:
                for one in built:
                    for name in reversed(files_of(one.engine)):
                        (bundle.folder / ENGINES / name).unlink(missing_ok=True)
                yield Result(precision=precision, built=built, refused=str(error))
                continue
            if timed:
                built = [_with_time(one, timed, part.folder / ENGINES) for one in built]
            for one in built:
                if timed or not one.up_to_date:
                    _move(one.engine, part.folder / ENGINES, bundle.folder / ENGINES, Path.replace)
        yield Result(precision=precision, built=built, found=found, measured=timed)


def _with_time(built: Built, timed: Measured, folder: Path) -> Built:
    """Write the judge's time into the description of its engine in `folder`. Return the engine with it."""
    if built.engine.role != "judge":
        return built
    engine = structs.replace(built.engine, measured=timed)
    write_description(engine, folder)
    return replace(built, engine=engine)


def check_of(bundle: Draft | Bundle, method: Method | None, data: Path | None) -> Check:
    """Return the function that checks the engines of this bundle or draft.

    The engines of a bundle are checked on its golden frames and on the labelled pictures in `data`. The engines
    of a draft are compared with ONNX Runtime on the same graph. `method` is needed only with `data`.
    """
    if (data or isinstance(bundle, Draft)) and not find_spec("onnxruntime"):
        raise EngineError(
            "onnxruntime is not installed, and engines are checked against it: "
            "pip install 'linejudge[onnxruntime]'"
        )
    if isinstance(bundle, Draft):
        pictures = list(
            method.held_out(data, bundle.manifest.picture) if method and data else noise(bundle.manifest)
        )
        return lambda part, choice: check_draft(part, choice, evenly(pictures, PICTURES))
    cases, measure = method.labelled(data, bundle) if method and data else ((), lambda answers: 0.0)
    labelled = list(cases)
    return lambda part, choice: verify(replace(bundle, folder=part.folder), choice, labelled, measure)


def kernels_beside(bundle: Model) -> str:
    """Compile the line's CUDA kernels into the bundle, unless it has them. Return a text on what was done."""
    folder = bundle.folder / ENGINES
    if fatbin(folder):
        return "up to date"
    try:
        compile_kernels(folder)
    except EngineError as error:
        return f"not compiled, so the CPU warps the frames: {error}"
    return "compiled"


def compiled_here(bundle: Model, precision: Precision) -> list[Engine]:
    """Return the bundle's TensorRT engines in this precision that can run here. Open each one before use."""
    found: list[Engine] = []
    for runtime in RUNTIMES:
        with suppress(EngineError):
            if precision in built_engines(runtime, bundle):
                found.append(open_engine(EngineChoice(kind=runtime, precision=precision), bundle))
    return found


def copy_engines(draft: Path, folder: Path, manifest: ModelManifest) -> None:
    """Copy a draft's CUDA kernels, and its engines of the graphs in `manifest`, to a bundle's `folder`."""
    graphs = {(artifact.role, artifact.precision, artifact.sha256) for artifact in manifest.artifacts}
    for _, found in kept(draft):
        if isinstance(found, Compiled) and (found.role, found.precision, found.graph) in graphs:
            _move(found, draft / ENGINES, folder / ENGINES, shutil.copyfile)
    if compiled := fatbin(draft / ENGINES):
        (folder / ENGINES).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(compiled, folder / ENGINES / compiled.name)


@contextmanager
def _alone(bundle: Model) -> Iterator[Model]:
    """Yield a copy of the bundle without its engines. New engines are put into the copy and checked there.

    The copy consists of links and has the CUDA kernels. It is deleted at the end of the block.
    """
    part = bundle.folder / PART
    # A build that was killed may have left the folder.
    if part.exists():
        shutil.rmtree(part)
    (part / ENGINES).mkdir(parents=True)
    try:
        for path in bundle.folder.resolve().iterdir():
            if path.name not in (ENGINES, PART):
                (part / path.name).symlink_to(path)
        if compiled := fatbin(bundle.folder.resolve() / ENGINES):
            (part / ENGINES / compiled.name).symlink_to(compiled)
        yield replace(bundle, folder=part)
    finally:
        shutil.rmtree(part)


def _move(engine: Compiled, source: Path, folder: Path, by: Callable[[Path, Path], object]) -> None:
    """Move or copy an engine's files from `source` to `folder`, each by the function `by`.

    The description is last, because readers take an engine with a description as complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in files_of(engine):
        if (source / name).exists():
            by(source / name, folder / name)
