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
FORMAT = 2
#: Each major version of TensorRT, and the next one that also runs its portable engines (support matrix, 11.4).
NEXT_MAJOR = {10: 11}
#: Two GPUs of one name have the same memory if theirs differs by less than this share. The memory that a Jetson
#: reports changes a little with its kernel.
MEMORY_VARIES = 0.2


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an engine is compiled for: a version of the runtime, and a kind of GPU.

    TensorRT loads an engine only with its own version and compute capability. It chose the engine's kernels by
    measuring them on this GPU, so another model, or fewer multiprocessors, makes another engine. It does not
    compare the driver, which is here for people.
    """

    runtime: Runtime
    version: str  # of the runtime
    compute_capability: tuple[int, int] | None  # None: compiled without a GPU, for those of `capabilities`
    gpu: str = ""  # its name
    multiprocessors: int | None = None  # on a Jetson, the power mode changes their number
    memory_gib: int | None = None  # rounded
    integrated: bool = False  # shares its memory with the CPU, as a Jetson's does
    driver: int | None  # newest CUDA version that the driver supports, 1000 * major + 10 * minor

    def __str__(self) -> str:
        if self.compute_capability is None:
            return f"{self.runtime} {self.version}, RTX GPUs"
        told = [f"{self.runtime} {self.version}", self.gpu, "sm_{}{}".format(*self.compute_capability)]
        told += [f"{self.multiprocessors} multiprocessors"] if self.multiprocessors is not None else []
        told += [f"{self.memory_gib} GiB"] if self.memory_gib is not None else []
        return ", ".join(filter(None, told))

    def another_gpu(self, here: Target) -> str | None:
        """Return in words why an engine for this target cannot run on the GPU of `here`. None if it can."""
        mine = self.compute_capability
        if mine is None:
            return None
        if mine != here.compute_capability or (self.runtime == "tensorrt" and self.gpu != here.gpu):
            return f"it is for another GPU ({self.gpu or 'unnamed'}): {self}"
        # TensorRT-RTX finishes an engine for the GPU when it loads it.
        if self.runtime == "tensorrt_rtx":
            return None
        if self.multiprocessors != here.multiprocessors:
            kind = (
                f"{self.gpu} with {self.multiprocessors} multiprocessors, and here are {here.multiprocessors}"
            )
            if here.integrated:
                return (
                    f"it is of another power mode: it is for {kind}: set the mode that it was built in "
                    "(`nvpmodel -q` shows the mode, `sudo nvpmodel -m` sets it), or build it in this one"
                )
            return f"it is for {kind}: this is another card of that name, or a part of one"
        if _differ(self.memory_gib, here.memory_gib):
            return f"it is for {self.gpu} with {self.memory_gib} GiB of memory, and here are {here.memory_gib}"
        return None


class _Format(Struct, frozen=True):
    """The only field of a description that all formats have."""

    format: int


class Measured(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast a judge's engine is, as `trt-build build` measured it on the GPU that it was built on."""

    ms: float  # median time of one part alone, from its picture to its outputs on the CPU
    runs: PositiveInt  # parts that were timed
    for_batches_ms: float | None = None  # by the kernels for a full batch; None: the engine has no others


class Compiled(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The description of a compiled engine. It lies beside the engine as a `.json` file."""

    format: int = FORMAT
    role: Role
    precision: Precision
    graph: str  # SHA-256 of the ONNX file
    batch: PositiveInt  # largest number of parts that the engine takes at once
    target: Target
    portable: bool = False  # version-compatible: runs on later versions too, see NEXT_MAJOR
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
        return mine.another_gpu(here)


def key(
    graph: str, precision: Precision, batch: int, target: Target, portable: bool = False, stripped: bool = False
) -> str:
    """Return a hash of an engine's properties, for its file names. If a property differs, so does the hash."""
    gpu = (target.compute_capability, target.gpu, target.multiprocessors, target.memory_gib)
    told = (FORMAT, graph, precision, batch, target.runtime, target.version, *gpu, portable, stripped)
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]


def kept(folder: Path) -> Iterator[tuple[Path, Compiled | str]]:
    """Yield the path of each engine's `.json` in a bundle's folder, with its content or why it is unusable."""
    for path in sorted((folder / ENGINES).glob("*.engine.json")):
        try:
            told = path.read_bytes()
            found = msgspec.json.decode(told, type=_Format).format
            if found == FORMAT:
                yield path, msgspec.json.decode(told, type=Compiled)
            else:
                writer = f"{'an earlier' if found < FORMAT else 'a later'} version of this program"
                yield path, f"{writer} wrote it (format {found}, not {FORMAT}): build it anew"
        except (OSError, msgspec.DecodeError) as error:
            yield path, f"its description cannot be read ({error})"


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
    """Return whether a portable engine of version `built` runs on version `here`.

    It does on later versions of its major, and on the major that NEXT_MAJOR names.
    """
    ours, theirs = (tuple(int(n) for n in version.split(".")[:3] if n.isdigit()) for version in (here, built))
    if not ours or not theirs:
        return False
    return (ours[0] == theirs[0] and ours >= theirs) or ours[0] == NEXT_MAJOR.get(theirs[0])


def _differ(one: int | None, other: int | None) -> bool:
    """Return whether two sizes of memory differ by more than MEMORY_VARIES. Unknown ones do not."""
    return one is not None and other is not None and abs(one - other) > MEMORY_VARIES * max(one, other)
