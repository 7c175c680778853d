"""Finds the bundle's engine that was compiled for this GPU, or says why each engine does not fit.

Engines lie in `<bundle>/engines/`, each as `<role>.<precision>.<key>.engine` with a `.json` that says from
which graph and for which GPU it was compiled. The manifest does not name them, so a new engine does not change
the bundle. An engine judges parts only after it has reproduced the known outputs of the bundle's golden frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from ..bundle import Model
from ..errors import EngineError
from ..manifest import File, PositiveInt, Precision, Role
from ..recipe import Runtime

ENGINES = "engines"
FORMAT = 1


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an engine is compiled for. Portable engines also run with later minor versions and any driver."""

    runtime: Runtime
    version: str  # of the runtime
    compute_capability: tuple[int, int] | None  # None: compiled without a GPU, for those of `capabilities`
    driver: int | None  # newest CUDA version that the driver supports, 1000 * major + 10 * minor
    gpu: str = ""  # its name, for people

    def __str__(self) -> str:
        capability = (
            "RTX GPUs" if self.compute_capability is None else "sm_{}{}".format(*self.compute_capability)
        )
        driver = (
            "" if self.driver is None else f", CUDA driver {self.driver // 1000}.{self.driver % 1000 // 10}"
        )
        return f"{self.runtime} {self.version}, {capability}{driver}"


class Measured(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast a judge's engine is, as `trt-build build` measured it on the GPU that it was built on."""

    ms: float  # median time of one part alone, from its picture to its outputs on the CPU
    runs: PositiveInt  # parts that were timed


class Compiled(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The description of a compiled engine. It lies beside the engine as a `.json` file."""

    format: int = FORMAT
    role: Role
    precision: Precision
    graph: str  # SHA-256 of the ONNX file
    batch: PositiveInt  # largest number of parts that the engine takes at once
    target: Target
    portable: bool = False  # version-compatible: runs on later versions of the same major, with any driver
    stripped: bool = False  # without weights; they are filled in from the graph when it is loaded
    capabilities: tuple[tuple[int, int], ...] = ()  # compiled without a GPU: of the GPUs that can run it
    measured: Measured | None = None  # None: without a GPU, or of a reference
    file: File  # the plan, by its name in the folder

    @property
    def key(self) -> str:
        """The hash of the engine's properties, which the names of the engine's files contain."""
        return key(self.graph, self.precision, self.batch, self.target, self.portable, self.stripped)

    @property
    def kernels(self) -> str:
        """The name of the file with the kernels that TensorRT-RTX compiled for the engine on the GPU itself."""
        return f"{self.file.path.removesuffix('.engine')}.kernels"

    def unfit(self, here: Target) -> str | None:
        """Return in words why the engine cannot run on this machine, `here`. Return None if it can."""
        mine = self.target
        if mine.runtime != here.runtime:
            return f"it is for {mine.runtime}"
        if mine.version != here.version and not (self.portable and _follows(mine.version, here.version)):
            return f"it was built by {mine.runtime} {mine.version}, and here is {here.version}"
        if mine.compute_capability is None and here.compute_capability not in (None, *self.capabilities):
            built = ", ".join("sm_{}{}".format(*capability) for capability in self.capabilities)
            return f"it was built without a GPU, for {built or 'none that it names'}, and here is {here}"
        if mine.compute_capability not in (None, here.compute_capability):
            return f"it is for another GPU ({mine.gpu or 'unnamed'}): {mine}"
        if mine.driver not in (None, here.driver) and not self.portable:
            return f"it was built with another driver: {mine}"
        return None


def key(
    graph: str, precision: Precision, batch: int, target: Target, portable: bool = False, stripped: bool = False
) -> str:
    """Return a hash of an engine's properties, for its file names. If a property differs, so does the hash."""
    told = (graph, precision, batch, target.runtime, target.version, target.compute_capability, target.driver)
    return hashlib.sha256(msgspec.json.encode((FORMAT, *told, portable, stripped))).hexdigest()[:16]


def kept(folder: Path) -> Iterator[tuple[Path, Compiled | str]]:
    """Yield the path of each engine's `.json` in a bundle's folder, with its content or why it is unusable."""
    for path in sorted((folder / ENGINES).glob("*.engine.json")):
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Compiled)
        except (OSError, msgspec.DecodeError) as error:
            yield path, f"its description cannot be read ({error})"
        else:
            yield path, found if found.format == FORMAT else f"it is of format {found.format}, not {FORMAT}"


def fitting(bundle: Model, role: Role, precision: Precision, here: Target) -> Compiled:
    """Return the description of the bundle's engine that fits a role, a precision and this machine (`here`).

    If several engines fit, take the one with the largest batch. If none fits, raise EngineError, which says for
    each engine why it does not fit.
    """
    graph = bundle.digest_of_graph(role, precision)
    fit: list[Compiled] = []
    unfit: list[str] = []
    for path, found in kept(bundle.folder):
        if isinstance(found, str):
            unfit.append(f"{path.name}: {found}")
        elif (found.role, found.precision) == (role, precision):
            why = "it was made of another graph" if found.graph != graph else found.unfit(here)
            unfit += [f"{path.name}: {why}"] if why else []
            fit += [] if why else [found]
    if not fit:
        raise EngineError(
            f"{bundle.folder}: expected an engine of the {role} in {precision} for this device ({here}), found "
            f"{'; '.join(unfit) or 'none'}: run `trt-build build {bundle.folder}` here"
        )
    return max(fit, key=lambda engine: engine.batch)


def read_plan(bundle: Model, engine: Compiled) -> bytes:
    """Return the bytes of an engine's file. Raise EngineError if the file is missing, cut short or altered."""
    path = bundle.folder / ENGINES / engine.file.path
    remedy = f"delete it and run `trt-build build {bundle.folder}` here"
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise EngineError(f"{path}: cannot read the engine: {error.strerror}: {remedy}") from error
    if len(plan) != engine.file.bytes:
        raise EngineError(f"{path}: expected {engine.file.bytes} bytes, found {len(plan)}: {remedy}")
    if hashlib.sha256(plan).hexdigest() != engine.file.sha256:
        raise EngineError(f"{path}: was altered, its SHA-256 is another: {remedy}")
    return plan


def _follows(built: str, here: str) -> bool:
    """Return whether version `here` has the same major number as version `built`, and is not older."""
    ours, theirs = (tuple(int(n) for n in version.split(".")[:3] if n.isdigit()) for version in (here, built))
    return ours[:1] == theirs[:1] and ours >= theirs
