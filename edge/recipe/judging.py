"""Defines the sections of a recipe that say how a part is judged: models, engine, rules and deadline."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from ..manifest import Precision
from .keys import Crop, Name, PositiveInt, Section, Tiles

Motion = Literal["none", "shift", "rigid"]
#: Engines that are compiled for one kind of GPU.
Runtime = Literal["tensorrt", "tensorrt_rtx"]
#: All engines by name; `constant` has no network and tests the line.
EngineKind = Literal[Runtime, "openvino", "onnxruntime", "constant"]


class Timing(Section, frozen=True, kw_only=True):
    """How long a part may take, and how many parts may be in progress at the same time."""

    deadline_ms: Annotated[float, Meta(ge=5, le=60000)] = 200.0  # from capture to the verdict
    guard_ms: Annotated[float, Meta(ge=0.5, le=10000)] = 10.0  # this long before it a part turns `unknown`
    slots: Annotated[int, Meta(ge=3, le=1024)] = 16  # number of parts whose pictures are held at once


class Register(Section, frozen=True, kw_only=True):
    """How far a part may be shifted and turned from its master, and how well it must fit once aligned."""

    motion: Motion = "rigid"  # shift: parts are not turned; none: they always lie as their master does
    max_shift_px: Annotated[float, Meta(gt=0)] = 16.0  # beyond it a part is `unknown`, reason `registration`
    max_rotation_deg: Annotated[float, Meta(ge=0, le=45)] = 3.0
    min_correlation: Annotated[float, Meta(ge=0, le=1)] = 0.5  # between the registered part and its master
    max_residual_px: Annotated[float, Meta(gt=0)] | None = None  # in the worst quarter; default: the bundle's
    max_difference: Annotated[float, Meta(gt=0)] | None = None  # in the worst window; default: the bundle's


class Preprocess(Section, frozen=True, kw_only=True):
    """How each frame is cropped, checked for light and aligned with its master before a model sees it."""

    crop: Crop | None = None  # x, y, width, height in the frame; default: the whole frame
    min_contrast: Annotated[float, Meta(ge=0, le=255)] = 8.0  # grey levels, 1st to 99th percentile; else `dark`
    register: Register = field(default_factory=Register)


class JudgeChoice(Section, frozen=True, kw_only=True):
    """One [[judge]] section: one of several models that inspect each part."""

    name: Name  # its name in verdicts
    camera: str = ""  # name of the camera whose frames it inspects; default: those of every camera
    bundle: Annotated[str, Meta(description="the folder of a model bundle")]
    masters: str = ""  # path with `{view}` in the place of the view; default: the masters in the bundle
    drawings: str = ""  # for a matcher: path, with * and ?, of drawings of the expected product
    ignore: str = ""  # path of a mask of the crop's size, not black where nothing is judged
    crop: Crop | None = None  # default: crop of [preprocess]
    tiles: Tiles | None = None  # into which the crop is cut; others than the bundle's need own thresholds
    thresholds: dict[str, float] = field(default_factory=dict)  # by kind of defect; default: the bundle's


class Fusion(Section, frozen=True, kw_only=True):
    """How the p-values of all judges become one p-value, and what share of good parts may be rejected."""

    how: Literal["bonferroni", "fisher"] = "bonferroni"  # fisher: only for judges whose errors are independent
    false_reject: Annotated[float, Meta(gt=0, lt=1)]


class EngineChoice(Section, frozen=True, kw_only=True):
    """Which engine runs the models, in which precision, and how much of the machine it may use."""

    kind: Literal["auto", EngineKind] = "auto"  # auto: the fastest that works here
    precision: Literal["auto", Precision] = "auto"
    lanes: Annotated[int, Meta(ge=1, le=8)] = 2  # requests in flight at once, each of one part or a batch
    threads: Annotated[int, Meta(ge=0, le=256)] = 0  # 0: as many as the machine has cores
    reference_mb: PositiveInt = 256  # memory for the features of masters
    spare: bool | None = None  # whether a second process keeps its engines ready; default: on a CPU


class Rule(Section, frozen=True, kw_only=True):
    """When the outputs of a model reject a part, and what happens to a part that is `unknown`."""

    thresholds: dict[str, float] = field(default_factory=dict)  # by kind of defect; default: the bundle's
    min_area_px: Annotated[int, Meta(ge=0)] = 0  # smaller regions do not reject the part
    regions: Literal["boxes", "masks"] = "boxes"  # masks: each region of a verdict also says which pixels
    unknown: dict[str, Literal["reject", "accept"]] = field(default_factory=dict)  # by reason; default: reject
