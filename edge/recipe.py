"""The line recipe: one TOML file, written by a line engineer, that says what to inspect on this line.

Relative paths are meant from the recipe's folder. Unknown keys, wrong types and values out of their range are
told all at once, with file and key (mistakes.py); a type's description is what a person is told to write.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast

import msgspec
from msgspec import Meta, Struct, field

from .documents.mistakes import mistakes
from .documents.toml import read_toml, toml_key
from .errors import RecipeError, together
from .messages import UNKNOWN_REASONS
from .text import readable

Motion = Literal["none", "shift", "rigid"]
PositiveInt = Annotated[int, Meta(ge=1)]
MOST_PORT = 65_535
Port = Annotated[int, Meta(ge=0, le=MOST_PORT)]
Crop = Annotated[
    tuple[int, int, int, int], Meta(description="a list of 4 whole numbers: x, y, width and height in pixels")
]
#: The colour filters over the first 2x2 pixels of a raw frame, rows first.
Bayer = Literal["rggb", "grbg", "gbrg", "bggr"]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,30}\Z",
        description="a name of letters, digits, - and _, starting with a letter or digit, at most 31",
    ),
]
LEAST_HEARTBEAT_MS = 50
MOST_JUDGES = 16  # a verdict names each, and has to fit the ledger's record


class _Section(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Source(_Section, frozen=True, kw_only=True, tag_field="kind"):
    """What every source says: the camera's name and the pictures that are expected of it."""

    camera: Name = "camera"
    width: Annotated[int, Meta(ge=8, le=16384)]
    height: Annotated[int, Meta(ge=8, le=16384)]
    color: Literal["gray", "bgr", "bayer-rggb", "bayer-grbg", "bayer-gbrg", "bayer-bggr"] = "gray"

    @property
    def bayer(self) -> Bayer | None:
        """What a raw frame's first 2x2 pixels see; None where frames are not raw."""
        return cast(Bayer, self.color[6:]) if self.color.startswith("bayer-") else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one frame: `(H, W)` for grey and raw, `(H, W, 3)` for BGR."""
        return (self.height, self.width, 3) if self.color == "bgr" else (self.height, self.width)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape)


class Synthetic(_Source, frozen=True, kw_only=True, tag="synthetic"):
    """Renders bare boards, some with a defect at a known place."""

    seed: Annotated[int, Meta(ge=0)] = 0
    parts: Annotated[int, Meta(ge=0)] = 0  # 0: without end
    fps: Annotated[float, Meta(gt=0, le=10000)] = 20.0
    defect_rate: Annotated[float, Meta(ge=0, le=1)] = 0.3
    views: PositiveInt = 4  # so many board designs take turns
    truth: str = ""  # where to write what each board really is, one JSON line a part


class Folder(_Source, frozen=True, kw_only=True, tag="folder"):
    """Plays the pictures of a folder at a steady rate: by name, or as they come where it is watched."""

    files: Annotated[
        str,
        Meta(description="a path with *, ** and ?, in which {view} may stand for the part that is the view"),
    ]
    fps: Annotated[float, Meta(gt=0, le=10000)] = 20.0
    repeat: bool = False
    watch: bool = False  # go on with pictures that appear later, oldest first, each once


class Video(_Source, frozen=True, kw_only=True, tag="video"):
    """A video file, an HTTP or RTSP address, a V4L2 device or a GStreamer string."""

    address: Annotated[
        str,
        Meta(
            description="a path, http:// or rtsp://..., /dev/video0, or a GStreamer string that ends in appsink"
        ),
    ]
    backend: Literal["auto", "ffmpeg", "v4l2", "gstreamer"] = "auto"
    timeout_ms: Annotated[int, Meta(ge=50, le=60000)] = 2000  # no frame for so long: the camera is lost
    paced: bool = False  # play a file at its own rate instead of as fast as it reads
    newest: bool = False  # of a camera: frames that nobody took are passed over, not `unknown`


Source = Union[Synthetic, Folder, Video]  # noqa: UP007  (msgspec reads it on Python 3.10 too)


class Timing(_Section, frozen=True, kw_only=True):
    deadline_ms: Annotated[float, Meta(ge=5, le=60000)] = 200.0  # from capture to the verdict
    guard_ms: Annotated[float, Meta(ge=0.5, le=10000)] = 10.0  # so long before it a part turns `unknown`
    slots: Annotated[int, Meta(ge=3, le=1024)] = 16  # parts whose pictures are kept at once


class Register(_Section, frozen=True, kw_only=True):
    """How far a part may lie from its master, and how well it must fit after registration."""

    motion: Motion = "rigid"
    max_shift_px: Annotated[float, Meta(gt=0)] = 16.0
    max_rotation_deg: Annotated[float, Meta(ge=0, le=45)] = 3.0
    min_correlation: Annotated[float, Meta(ge=0, le=1)] = 0.5  # of part and master, once registered
    max_residual_px: Annotated[float, Meta(gt=0)] | None = None  # of the worst quarter; else the bundle's
    max_difference: Annotated[float, Meta(gt=0)] | None = None  # of the worst window; else the bundle's


class Preprocess(_Section, frozen=True, kw_only=True):
    crop: Crop | None = None  # x, y, width, height in the frame; whole frame if left out
    min_contrast: Annotated[float, Meta(ge=0, le=255)] = 8.0  # grey levels, 1st to 99th percentile; else `dark`
    register: Register = field(default_factory=Register)


class JudgeChoice(_Section, frozen=True, kw_only=True):
    """One of several models that look at each part."""

    name: Name  # what verdicts call it
    bundle: Annotated[str, Meta(description="the folder of a model bundle")]
    masters: str = ""  # path in which `{view}` stands for the view; else the bundle's own masters
    drawings: str = ""  # pictures of the product that parts have to be, with * and ?; for a matcher
    crop: Crop | None = None  # else that of [preprocess]
    thresholds: dict[str, float] = field(default_factory=dict)  # by kind; else the bundle's


class Fusion(_Section, frozen=True, kw_only=True):
    """Judges' p-values into one: so many good parts are rejected, all judges together."""

    how: Literal["bonferroni", "fisher"] = "bonferroni"  # fisher: only where judges err independently
    false_reject: Annotated[float, Meta(gt=0, lt=1)]


class EngineChoice(_Section, frozen=True, kw_only=True):
    kind: Literal["auto", "tensorrt", "tensorrt_rtx", "openvino", "onnxruntime", "constant"] = "auto"
    precision: Literal["auto", "fp32", "fp16", "int8", "fp8"] = "auto"
    lanes: Annotated[int, Meta(ge=1, le=8)] = 2
    threads: Annotated[int, Meta(ge=0, le=256)] = 0  # 0: as many as there are cores
    reference_mb: PositiveInt = 256  # memory for the features of masters


class Rule(_Section, frozen=True, kw_only=True):
    """When a prediction becomes `reject`, and what an `unknown` does to the part."""

    thresholds: dict[str, float] = field(default_factory=dict)  # by kind; else the bundle's
    min_area_px: Annotated[int, Meta(ge=0)] = 0  # smaller regions are not held against the part
    unknown: dict[str, Literal["reject", "accept"]] = field(default_factory=dict)  # by reason; else reject


class Publish(_Section, frozen=True, kw_only=True):
    endpoints: tuple[str, ...] = ("tcp://127.0.0.1:5571",)
    heartbeat_ms: Annotated[int, Meta(ge=LEAST_HEARTBEAT_MS, le=60000)] = 1000


class MetricsPort(_Section, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: Port = 9178  # 0: no metrics


class Recipe(_Section, frozen=True, kw_only=True):
    """What to inspect on this line."""

    line: Name
    bundle: str = ""  # the model that judges, or several under [[judge]]
    masters: str = ""  # path in which `{view}` stands for the view; else the bundle's own masters
    drawings: str = ""  # pictures of the product that parts have to be, with * and ?; for a matcher
    judge: tuple[JudgeChoice, ...] = ()
    fusion: Fusion | None = None  # else each judge rejects by its own threshold
    masters_kept: PositiveInt = 64  # so many views are held ready, some 3 MB each; the rest are read when seen
    source: Source
    timing: Timing = field(default_factory=Timing)
    preprocess: Preprocess = field(default_factory=Preprocess)
    engine: EngineChoice = field(default_factory=EngineChoice)
    rule: Rule = field(default_factory=Rule)
    publish: Publish = field(default_factory=Publish)
    metrics: MetricsPort = field(default_factory=MetricsPort)

    def key(self, judge: JudgeChoice, key: str) -> str:
        """A judge's key as it is found in the file."""
        if self.judge:
            return f'[[judge]] "{judge.name}" {key}'
        return f"[rule.{key}]" if key == "thresholds" else key

    def beating(self, period_ms: int) -> Recipe:
        """The recipe with a heartbeat at least so often, as far as it may be."""
        heartbeat_ms = min(self.publish.heartbeat_ms, max(period_ms, LEAST_HEARTBEAT_MS))
        return msgspec.structs.replace(
            self, publish=msgspec.structs.replace(self.publish, heartbeat_ms=heartbeat_ms)
        )

    @property
    def judges(self) -> tuple[JudgeChoice, ...]:
        """The models that look at each part: those under [[judge]], or the one."""
        return self.judge or (
            JudgeChoice(
                name="model",
                bundle=self.bundle,
                masters=self.masters,
                drawings=self.drawings,
                thresholds=self.rule.thresholds,
            ),
        )


def read_recipe(path: Path) -> tuple[Recipe, str]:
    """Read a recipe; return it, its paths made absolute, with the SHA-256 of the file.

    Raises RecipeError, which names the file, tells every key that is wrong and says what to do.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the recipe: {error.strerror}") from error
    try:
        recipe = _recipe_of(read_toml(data))
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error
    folder = path.parent.resolve()
    if readable(str(folder)) != str(folder):
        raise RecipeError(
            f"{readable(str(path))}: the folder is {readable(str(folder))}: move it to one whose name is UTF-8"
        )
    return _absolute(recipe, folder), hashlib.sha256(data).hexdigest()


def _recipe_of(document: dict[str, Any]) -> Recipe:
    try:
        recipe = msgspec.convert(document, Recipe)
    except msgspec.ValidationError as error:
        said = list(mistakes(Recipe, document, lambda key: toml_key(document, key)))
        raise RecipeError(together(said or [str(error)])) from error
    if said := list(_contradictions(recipe)):
        raise RecipeError(together(said))
    return recipe


def _contradictions(recipe: Recipe) -> Iterator[str]:
    """What is wrong with keys that are each as they have to be."""
    timing, source = recipe.timing, recipe.source
    if isinstance(source, Video) and source.bayer:
        yield (
            '[source] color: a video comes without raw pixels: write "bgr" or "gray", or give raw pictures '
            'by kind = "folder"'
        )
    if isinstance(source, Video):
        port = re.match(r"^\w+://[^/?#\s]*:(\d+)(?:[/?#]|$)", source.address)
        if port and int(port[1]) > MOST_PORT:
            yield f"[source] address: the port {port[1]} is above {MOST_PORT}: write the camera's"
    if isinstance(source, Folder) and source.watch and source.repeat:
        yield "[source] repeat: a folder that is watched has no last picture: take out repeat or watch"
    if timing.guard_ms >= timing.deadline_ms:
        yield (
            f"[timing] guard_ms: {timing.guard_ms:g} leaves nothing of deadline_ms, {timing.deadline_ms:g}: "
            "make it smaller"
        )
    yield from _of_judges(recipe)
    yield from _of_crop("[preprocess] crop", recipe.preprocess.crop, source)
    for judge in recipe.judge:
        yield from _of_crop(recipe.key(judge, "crop"), judge.crop, source)
    for reason in recipe.rule.unknown:
        if reason not in UNKNOWN_REASONS:
            known = ", ".join(UNKNOWN_REASONS)
            yield f"[rule.unknown] {reason}: is no reason for `unknown`; known are {known}"
    for endpoint in recipe.publish.endpoints:
        place = re.match(r"^(?:ipc://.+|tcp://(?:127\.\d+\.\d+\.\d+|localhost|\[::1\]):(\d+|\*))$", endpoint)
        if place and (place[1] or "*") != "*" and int(place[1]) > MOST_PORT:
            yield f"[publish] endpoints: {endpoint!r} has a port above {MOST_PORT}: write one that there is"
        elif not place:
            yield (
                f"[publish] endpoints: {endpoint!r} is neither ipc:// nor tcp:// on the loopback: verdicts "
                "without keys are not put on a network. Bind 127.0.0.1 and forward it by a tunnel that has keys"
            )


def _of_judges(recipe: Recipe) -> Iterator[str]:
    if bool(recipe.bundle) == bool(recipe.judge):
        found = "both" if recipe.judge else "neither"
        yield f"expected either `bundle`, for one model, or [[judge]] for each of several, found {found}"
    if recipe.judge and (recipe.masters or recipe.drawings or recipe.rule.thresholds):
        yield "where there are [[judge]] sections, masters, drawings and thresholds are said in each"
    if len(recipe.judge) > MOST_JUDGES:
        yield f"[[judge]]: {len(recipe.judge)} judges: a verdict has room for {MOST_JUDGES}"
    for name, count in Counter(judge.name for judge in recipe.judge).items():
        if count > 1:
            yield f"[[judge]] name: {count} are called {name!r}: verdicts could not tell them apart"


def _of_crop(key: str, crop: Crop | None, source: Source) -> Iterator[str]:
    if crop and not (
        crop[0] >= 0
        and crop[1] >= 0
        and crop[2] >= 8
        and crop[3] >= 8
        and crop[0] + crop[2] <= source.width
        and crop[1] + crop[3] <= source.height
    ):
        yield (
            f"{key}: {list(crop)} (x, y, width, height) does not lie in the {source.width}x{source.height} "
            "frame of [source], with at least 8x8 pixels"
        )


def _absolute(recipe: Recipe, folder: Path) -> Recipe:
    def absolute(text: str) -> str:
        return str(folder / text) if text else text

    source = recipe.source
    if isinstance(source, Synthetic):
        source = msgspec.structs.replace(source, truth=absolute(source.truth))
    elif isinstance(source, Folder):
        source = msgspec.structs.replace(source, files=absolute(source.files))
    elif (folder / source.address).is_file():
        source = msgspec.structs.replace(source, address=absolute(source.address))

    def paths_of(judge: Recipe | JudgeChoice) -> dict[str, str]:
        return {key: absolute(getattr(judge, key)) for key in ("bundle", "masters", "drawings")}

    judges = tuple(msgspec.structs.replace(judge, **paths_of(judge)) for judge in recipe.judge)
    return msgspec.structs.replace(recipe, **paths_of(recipe), judge=judges, source=source)
