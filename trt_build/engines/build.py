"""What `trt-build build` does: engines of a bundle's graphs for this device, each kept once it was checked."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from edge.bundle import Bundle, Draft, Model
from edge.engines import open_engine
from edge.engines.base import Engine
from edge.engines.compiled import ENGINES, Compiled, Target, kept
from edge.engines.cuda import Device, open_device
from edge.engines.trt import built_precisions
from edge.engines.trt_library import PACKAGES, load_runtime, target
from edge.errors import EngineError
from edge.image.kernel import fatbin
from edge.manifest import ModelManifest, Precision
from edge.recipe import EngineChoice, Runtime
from trt_build.data.cases import evenly
from trt_build.engines.kernels import compile_kernels
from trt_build.engines.tensorrt_builder import BuildOptions, Built, build_engine, files_of
from trt_build.engines.verify import Comparison, check_draft, noise, verify

if TYPE_CHECKING:
    from trt_build.methods.base import Method

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
PART = "engines.part"  # where they lie until they are checked
PICTURES = 16  # that an engine of a draft is checked on
FIRST_WITH_FP8 = (8, 9)  # compute capability

#: An engine of the bundle against what it was made of; EngineError where it judges otherwise.
Check = Callable[[Model, EngineChoice], Comparison | None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one precision: its engines, and how they did or why they were deleted."""

    precision: Precision
    built: Sequence[Built]
    found: Comparison | None = None
    refused: str = ""


def chosen_runtime(asked: Literal["auto"] | Runtime) -> Runtime:
    """The runtime that is asked for, or the first that is installed."""
    if asked != "auto":
        return asked
    for runtime in RUNTIMES:
        if find_spec(runtime):
            return runtime
    either = ", or ".join(PACKAGES[runtime] for runtime in RUNTIMES)
    raise EngineError(f"neither tensorrt nor tensorrt_rtx is installed: {either}")


@contextmanager
def target_here(runtime: Runtime) -> Iterator[Target]:
    """What engines are built for here, with the GPU open, if there is one; EngineError where one is needed."""
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
            _log.info("built for any GPU that tensorrt_rtx knows, since none is here: %s", error)
        version = load_runtime(runtime).__version__
        if device is None:
            yield Target(runtime=runtime, version=version, compute_capability=None, driver=None)
        else:
            yield target(runtime, load_runtime(runtime), device)


def chosen_precisions(bundle: Model, asked: Sequence[str], here: Target) -> list[Precision]:
    """Those asked for, or all that a line would take: FP32 only where there is nothing else."""
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
    fit = [precision for precision in known if not (precision == "fp8" and old)]
    return [precision for precision in fit if precision != "fp32"] or fit


def build_engines(
    bundle: Model, precisions: Sequence[Precision], here: Target, options: BuildOptions, check: Check | None
) -> Iterator[Result]:
    """Build, check and keep the engines of each precision; what is not right is deleted, and the next is built.

    Without a GPU there is no `check`; a line goes through the golden frames before its first part all the same.
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
            found = None
            try:
                if check:
                    found = check(part, EngineChoice(kind=here.runtime, precision=precision))
            except EngineError as error:
                for one in built:
                    _delete(one.engine, bundle.folder / ENGINES)
                yield Result(precision=precision, built=built, refused=str(error))
                continue
            for new in (one.engine for one in built if not one.up_to_date):
                _move(new, part.folder / ENGINES, bundle.folder / ENGINES, Path.replace)
        yield Result(precision=precision, built=built, found=found)


def check_of(bundle: Draft | Bundle, method: Method | None, data: Path | None) -> Check:
    """How engines are checked: a bundle's by golden cases and those labelled in `data`, a draft's by its graph.

    `method` is the bundle's, given where there is `data`.
    """
    if (data or isinstance(bundle, Draft)) and not find_spec("onnxruntime"):
        raise EngineError(
            "onnxruntime is not installed, and engines are checked against it: "
            "pip install 'linejudge[onnxruntime]'"
        )
    if isinstance(bundle, Draft):
        pictures = list(
            method.held_out(data, bundle.manifest.input) if method and data else noise(bundle.manifest)
        )
        return lambda part, choice: check_draft(part, choice, evenly(pictures, PICTURES))
    cases, measure = method.labelled(data, bundle) if method and data else ((), lambda answers: 0.0)
    labelled = list(cases)
    return lambda part, choice: verify(replace(bundle, folder=part.folder), choice, labelled, measure)


def kernels_beside(bundle: Model) -> str:
    """Compile the line's kernels into the engines' folder, if that can be done; what became of it, in words."""
    folder = bundle.folder / ENGINES
    if fatbin(folder):
        return "up to date"
    try:
        compile_kernels(folder)
    except EngineError as error:
        return f"not compiled, so the CPU warps the frames: {error}"
    return "compiled"


def compiled_here(bundle: Model, precision: Precision) -> list[Engine]:
    """The bundle's engines of a precision that this device can run, to be entered by `with`."""
    found: list[Engine] = []
    for runtime in RUNTIMES:
        with suppress(EngineError):
            if precision in built_precisions(runtime, bundle):
                found.append(open_engine(EngineChoice(kind=runtime, precision=precision), bundle))
    return found


def copy_engines(draft: Path, folder: Path, manifest: ModelManifest) -> None:
    """Copy a draft's engines of the graphs that a manifest names, and its kernels, beside these graphs."""
    graphs = {(artifact.role, artifact.precision, artifact.sha256) for artifact in manifest.artifacts}
    for _, found in kept(draft):
        if isinstance(found, Compiled) and (found.role, found.precision, found.graph) in graphs:
            _move(found, draft / ENGINES, folder / ENGINES, shutil.copyfile)
    if compiled := fatbin(draft / ENGINES):
        (folder / ENGINES).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(compiled, folder / ENGINES / compiled.name)


@contextmanager
def _alone(bundle: Model) -> Iterator[Model]:
    """The bundle and its kernels beside it, without its engines: what is put there is checked, and no other."""
    part = bundle.folder / PART
    if part.exists():
        shutil.rmtree(part)  # of a build that was killed
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
    """An engine's files into a folder; the one that vouches for the others last."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in files_of(engine):
        if (source / name).exists():
            by(source / name, folder / name)


def _delete(engine: Compiled, folder: Path) -> None:
    for name in reversed(files_of(engine)):
        (folder / name).unlink(missing_ok=True)
