"""What `manifest.json` of a model bundle says, and what of it must agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from .documents.mistakes import mistakes
from .errors import BundleError, EngineError, together

FORMAT = 1
MOST_TOLERANCE = 0.5  # of a score, in parts of the lowest threshold
#: What a model is asked for; each but the last is made by `trt-build train`.
Method = Literal["comparator", "matcher", "autoencoder", "stpm", "pfm", "constant"]

PositiveInt = Annotated[int, Meta(ge=1)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Precision = Literal["fp32", "fp16", "int8", "fp8"]
Role = Literal["judge", "reference"]


class _Entry(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class InputSpec(_Entry, frozen=True, kw_only=True):
    """What the model looks at: `(1, channels, height, width)` uint8; scaling is in the graph."""

    height: PositiveInt
    width: PositiveInt
    color: Literal["gray", "bgr", "rgb"] = "gray"

    @property
    def channels(self) -> int:
        return 1 if self.color == "gray" else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (1, self.channels, self.height, self.width)

    def check(self, name: str, array: NDArray[Any]) -> None:
        """EngineError if an array is not what the model takes; `name` says which one it is."""
        if array.shape != self.shape or array.dtype != np.uint8:
            raise EngineError(
                f"{name}: expected {self.shape} uint8 ({self.color}), received {array.shape} {array.dtype}"
            )

    def tensor(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The model's input made of a picture of its size, `(H, W)` grey or `(H, W, 3)` BGR."""
        planes = picture[np.newaxis] if picture.ndim == 2 else np.moveaxis(picture, -1, 0)
        image = np.ascontiguousarray((planes[::-1] if self.color == "rgb" else planes)[np.newaxis])
        self.check("picture", image)
        return image


class File(_Entry, frozen=True, kw_only=True):
    """A file of the bundle; the path is relative to its folder."""

    path: str
    sha256: str
    bytes: int


class Artifact(File, frozen=True, kw_only=True):
    """A graph: `reference` turns a master into features, `judge` an image and features into outputs."""

    role: Role
    precision: Precision


class GoldenCase(_Entry, frozen=True, kw_only=True):
    """A picture, its master or drawing, and what the FP32 model says of them (an .npz of the outputs)."""

    frame: File
    master: File | None = None
    expected: File


class Calibration(_Entry, frozen=True, kw_only=True):
    """What a threshold promises, and the good parts' scores that it comes from."""

    method: Literal["conformal", "conditional", "cross-fitted", "extrapolated"]
    rate: float  # good parts rejected, at most
    confidence: float | None = None  # that the rate is kept
    n: PositiveInt
    threshold: float
    note: str  # the promise in words
    interval: tuple[float, float] | None = None
    misfit: float | None = None
    engine: str  # that gave the scores: its name and precision
    artifact: str  # SHA-256 of the graph that it ran
    scores: tuple[float, ...]  # rising; of the n good parts


class Fit(_Entry, frozen=True, kw_only=True):
    """How well good parts fit their masters once they are registered; what fits worse is not judged."""

    residual_px: Annotated[float, Meta(gt=0)]  # how far a quarter may still lie off
    difference: Annotated[float, Meta(gt=0)]  # mean over a window, in standard deviations of the master


class Manifest(_Entry, frozen=True, kw_only=True):
    """All that is known about the model."""

    format: int = FORMAT
    name: str
    method: Method
    kinds: tuple[str, ...]
    input: InputSpec
    outputs: dict[str, tuple[int, ...]]  # name -> shape
    stride: PositiveInt = 1  # input pixels a cell of the map, along each axis
    features: tuple[str, ...] = ()  # outputs of the reference graph, further inputs of the judge
    artifacts: tuple[Artifact, ...] = ()
    thresholds: dict[str, float]  # by kind: the least score that is rejected
    region_from: float | None = None  # from which value on a cell of an anomaly map is shown as a region
    calibration: Calibration | None = None  # of the threshold
    fit: Fit | None = None  # of a comparator's parts
    golden: tuple[GoldenCase, ...] = ()
    tolerances: dict[Precision, dict[str, float]] = {}  # largest difference by output, and of the `score`
    masters: dict[str, File] = {}  # by view
    facts: dict[str, Any] = {}  # training data, figures, versions
    notice: str = ""

    @property
    def answers(self) -> dict[str, tuple[int, ...]]:
        """What decides, name -> shape: the outputs, or for a matcher how far it is to the nearest drawing."""
        return {"score": (1,)} if self.method == "matcher" else self.outputs

    def precisions(self) -> list[Precision]:
        """What the judge comes in."""
        return [artifact.precision for artifact in self.artifacts if artifact.role == "judge"]

    def files(self) -> dict[str, File]:
        """Every file that is named, by the key under which it is."""
        files: dict[str, File] = {f"artifacts[{i}]": file for i, file in enumerate(self.artifacts)}
        for i, case in enumerate(self.golden):
            files |= {f"golden[{i}].frame": case.frame, f"golden[{i}].expected": case.expected}
            files |= {f"golden[{i}].master": case.master} if case.master else {}
        return files | {f"masters.{view}": file for view, file in self.masters.items()}


def check_tolerance(precision: Precision, score: float, thresholds: dict[str, float]) -> None:
    """Raise BundleError if scores may differ by so much that reproducing golden frames would show nothing."""
    most = MOST_TOLERANCE * min(abs(threshold) for threshold in thresholds.values())
    if score > most:
        raise BundleError(
            f"tolerances.{precision}.score: expected at most {most:.4g}, which is {MOST_TOLERANCE:.0%} of the "
            f"lowest threshold, found {score:.4g}: this precision is too coarse for the model: export it with "
            "more pictures, or without this precision"
        )


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in JSON text; BundleError names the keys that are wrong and says what to do."""
    try:
        document = msgspec.json.decode(data)
        version = document.get("format") if isinstance(document, dict) else None
        if version != FORMAT:
            raise BundleError(f"format: expected {FORMAT}, found {version!r}: pack the bundle anew")
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.ValidationError as error:
        said = list(mistakes(Manifest, document, _key))
        raise BundleError(f"{together(said or [str(error)])}: pack the bundle anew") from error
    except msgspec.DecodeError as error:
        raise BundleError(f"not a JSON file: {error}") from error
    _check(manifest)
    return manifest


def _key(path: Sequence[str | int]) -> str:
    """A key as it is found in the file: `artifacts[1].precision`."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return "".join(steps).removeprefix(".") or "the manifest"


def _check(manifest: Manifest) -> None:
    kinds = manifest.kinds
    _check_outputs(manifest)
    if set(manifest.thresholds) != set(kinds):
        raise BundleError(f"thresholds: expected one for each of {kinds}, found {sorted(manifest.thresholds)}")
    _check_graphs(manifest)
    for precision in manifest.precisions() if manifest.golden else ():
        tolerances = manifest.tolerances.get(precision, {})
        missing = {*manifest.outputs, "score"} - set(tolerances)
        if missing:
            raise BundleError(f"tolerances.{precision}: none for {sorted(missing)}: pack the bundle anew")
        check_tolerance(precision, tolerances["score"], manifest.thresholds)
    if (known := manifest.calibration) and [*known.scores] != sorted(known.scores):
        raise BundleError("calibration.scores: expected them rising: calibrate anew")
    if known and len(known.scores) != known.n:
        raise BundleError(f"calibration.scores: expected {known.n}, found {len(known.scores)}: calibrate anew")


def _check_outputs(manifest: Manifest) -> None:
    """BundleError unless the outputs are those by which the method judges."""
    spec, kinds, stride = manifest.input, manifest.kinds, manifest.stride
    if manifest.method == "matcher":
        shape = manifest.outputs.get("embedding", ())
        if kinds != ("product",) or len(shape) != 2 or shape[0] != 1:
            raise BundleError(
                f"outputs.embedding: expected (1, D) and the kind 'product', found {shape} and {kinds}: "
                "export the model anew"
            )
        return
    if "score" in manifest.outputs and (manifest.outputs["score"] != (1,) or len(kinds) != 1):
        raise BundleError(
            f"outputs.score: expected (1,) for one kind, found {manifest.outputs['score']} for {kinds}: "
            "export the model anew"
        )
    cells = (1, len(kinds), spec.height // stride, spec.width // stride)
    if manifest.outputs.get("map") != cells:
        raise BundleError(
            f"outputs.map: expected {cells} for {len(kinds)} kinds at stride {stride}, "
            f"found {manifest.outputs.get('map')}: export the model anew"
        )


def _check_graphs(manifest: Manifest) -> None:
    graphs = [(artifact.role, artifact.precision) for artifact in manifest.artifacts]
    needed = {"comparator": ("judge", "reference"), "constant": ()}.get(manifest.method, ("judge",))
    roles = {role for role, _ in graphs}
    for role in needed:
        if role not in roles:
            raise BundleError(f"artifacts: no graph for the role {role!r}: export the model anew")
    if manifest.artifacts and "fp32" not in manifest.precisions():
        raise BundleError(
            f"artifacts: expected a judge in fp32 beside {', '.join(manifest.precisions())}, to which a "
            "line falls back: export the model anew, and pack it with a later version"
        )
    for precision in manifest.precisions() if "reference" in needed else ():
        if ("reference", precision) not in graphs:
            raise BundleError(f"artifacts: a judge in {precision}, but no reference: export the model anew")
    if "reference" in needed and not manifest.features:
        raise BundleError("features: expected the names of what the reference graph gives, found none")
    if len(set(graphs)) != len(graphs):
        raise BundleError(f"artifacts: {graphs} names a role and precision twice: take one out")
