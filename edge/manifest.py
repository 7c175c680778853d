"""Defines the contents of `manifest.json`, the description of a model in a draft or a packed bundle."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from .errors import EngineError
from .tiles import Grid

FORMAT = 2
#: How a model judges; `trt-build train` makes every method but the last.
Method = Literal["comparator", "matcher", "autoencoder", "stpm", "pfm", "gaussian", "constant"]

PositiveInt = Annotated[int, Meta(ge=1)]
Probability = Annotated[float, Meta(ge=0, le=1)]
#: `int8_fp16` is INT8 convolutions with all else in FP16, for GPUs alone; in `int8` all else is FP32.
Precision = Literal["fp32", "fp16", "int8", "int8_fp16", "fp8"]
Role = Literal["judge", "reference"]


class _Entry(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class InputSpec(_Entry, frozen=True, kw_only=True):
    """The model's input: `(1, channels, height, width)` uint8. The graph itself scales these values."""

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
        """Raise EngineError, which begins with `name`, unless `array` is uint8 and has the input's shape."""
        if array.shape != self.shape or array.dtype != np.uint8:
            raise EngineError(
                f"{name}: expected {self.shape} uint8 ({self.color}), received {array.shape} {array.dtype}"
            )

    def tensor(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert a picture, `(H, W)` grey or `(H, W, 3)` BGR, to the model's input `(1, C, H, W)` uint8."""
        planes = picture[np.newaxis] if picture.ndim == 2 else np.moveaxis(picture, -1, 0)
        image = np.ascontiguousarray((planes[::-1] if self.color == "rgb" else planes)[np.newaxis])
        self.check("picture", image)
        return image


class File(_Entry, frozen=True, kw_only=True):
    """A file of a draft or bundle. `path` is relative to the manifest's folder."""

    path: str
    sha256: str
    bytes: int


class Artifact(File, frozen=True, kw_only=True):
    """An ONNX graph in one precision.

    A `reference` graph turns a master into features. A `judge` graph turns a picture into outputs. If the model
    has a `reference` graph, the `judge` graph takes the features too.
    """

    role: Role
    precision: Precision


class GoldenCase(_Entry, frozen=True, kw_only=True):
    """A golden frame: a picture, its master or drawing if needed, and the FP32 model's outputs (.npz)."""

    frame: File
    master: File | None = None
    expected: File


class Threshold(_Entry, frozen=True, kw_only=True):
    """A threshold that was computed from the scores of good parts, and what the threshold promises."""

    method: Literal["conformal", "conditional", "extrapolated"]
    rate: float  # largest share of good parts rejected
    confidence: float | None = None  # probability that the rate holds, or that the interval holds it
    n: PositiveInt  # scores of good parts
    threshold: float  # least score that is rejected
    note: str  # the promise in words
    interval: tuple[float, float] | None = None  # of an extrapolated threshold
    misfit: float | None = None  # mean distance of the tail from its fit, divided by the mean excess


class Calibration(Threshold, frozen=True, kw_only=True):
    """A threshold, the scores from which it was computed, and the engine and graph that gave the scores."""

    engine: str  # name and precision of the engine that gave the scores
    artifact: str  # SHA-256 of the graph that this engine ran
    scores: tuple[float, ...]  # of the n good parts, in rising order


class Fit(_Entry, frozen=True, kw_only=True):
    """Limits for how much a registered part may differ from its master. A part beyond a limit is not judged."""

    residual_px: Annotated[float, Meta(gt=0)]  # largest remaining offset of a quarter of the picture
    difference: Annotated[float, Meta(gt=0)]  # mean over a window, in standard deviations of the master


class ModelManifest(_Entry, frozen=True, kw_only=True):
    """The fields that the manifests of drafts and of packed bundles have in common."""

    format: int = FORMAT
    name: str
    method: Method
    kinds: tuple[str, ...]
    input: InputSpec
    outputs: dict[str, tuple[int, ...]]  # name -> shape
    stride: PositiveInt = 1  # input pixels from one cell of the map to the next, along each axis
    features: tuple[str, ...] = ()  # outputs of the reference graph, which are inputs of the judge graph
    artifacts: tuple[Artifact, ...] = ()
    thresholds: dict[str, float] | None = None  # kind -> least score that is rejected
    region_from: float | None = None  # least value of a cell that is shown as part of a region
    calibration: Calibration | None = None  # of a threshold that promises a rate
    fit: Fit | None = None  # of a comparator's parts
    tiles: tuple[PositiveInt, PositiveInt] = (1, 1)  # columns and rows of inputs into which a part is cut
    ignored: File | None = None  # mask of the whole picture's size, not black where nothing is judged
    metadata: dict[str, Any] = {}  # training data, figures, versions

    @property
    def grid(self) -> Grid:
        """How the picture of a part is cut into inputs of the model, its tiles. Often there is one tile."""
        return Grid(*self.tiles, self.input.height, self.input.width)

    @property
    def picture(self) -> InputSpec:
        """The size and colour of a part's whole picture. It is the model's input if there is one tile."""
        height, width = self.grid.size
        return InputSpec(height=height, width=width, color=self.input.color)

    @property
    def answers(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of each output that decides about a part: for a matcher the score, otherwise all.

        The outputs for several tiles are joined.
        """
        if self.matches_drawings:
            return {"score": (1,)}
        return {name: self.grid.whole(shape, self.stride) for name, shape in self.outputs.items()}

    @property
    def matches_drawings(self) -> bool:
        """True if the model outputs an embedding, which is compared with those of the product's drawings."""
        return "embedding" in self.outputs

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of the model's graphs: `judge`, and `reference` if a graph turns masters into features."""
        return ("judge", "reference") if self.features else ("judge",)

    def precisions(self) -> list[Precision]:
        """Return the precisions for which the model has a judge graph."""
        return [artifact.precision for artifact in self.artifacts if artifact.role == "judge"]

    def files(self) -> dict[str, File]:
        """Return the manifest's files. Each key is a file's place in the manifest, such as `artifacts[0]`."""
        files: dict[str, File] = {f"artifacts[{i}]": file for i, file in enumerate(self.artifacts)}
        return files | ({"ignored": self.ignored} if self.ignored else {})


class DraftManifest(ModelManifest, frozen=True, kw_only=True):
    """The manifest of a draft. `thresholds` is None until `trt-build calibrate` sets them."""

    state: Literal["draft"] = "draft"


class Manifest(ModelManifest, frozen=True, kw_only=True):
    """The manifest of a packed bundle. It also names golden frames, tolerances and masters."""

    state: Literal["packed"] = "packed"
    thresholds: dict[str, float]  # kind -> least score that is rejected
    golden: tuple[GoldenCase, ...] = ()
    tolerances: dict[Precision, dict[str, float]] = {}  # largest difference by output, and of the `score`
    masters: dict[str, File] = {}  # by view
    notice: str = ""

    def files(self) -> dict[str, File]:
        """Return the manifest's files. Each key is a file's place in the manifest, such as `artifacts[0]`."""
        files = super().files()
        for i, case in enumerate(self.golden):
            files |= {f"golden[{i}].frame": case.frame, f"golden[{i}].expected": case.expected}
            files |= {f"golden[{i}].master": case.master} if case.master else {}
        return files | {f"masters.{view}": file for view, file in self.masters.items()}


def least_rejected(passed: float) -> float:
    """Return the lowest rejected score, the next float32 after `passed`, which is the highest that passes."""
    return float(np.nextafter(np.float32(passed), np.float32(np.inf)))


def rejected_below(similarity: float) -> float:
    """Return the lowest rejected score of a matcher that accepts each cosine from `similarity` up.

    A score is 1 minus a cosine, in float32. A cosine that is lower by less than this rounding is accepted, too.
    """
    return least_rejected(float(np.float32(1.0) - np.float32(similarity)))
