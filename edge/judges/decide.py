"""Decides from a model's outputs and a judge's rule, and from nothing else, whether a part is rejected."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import PartError
from ..messages import Reason, Region, VerdictKind
from .masks import mask_in_frame
from .pvalue import p_value
from .regions import find_cells

#: Regions in a verdict at most; weaker ones are left out.
MAX_REGIONS = 48


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The thresholds and limits by which the outputs of one judge reject a part."""

    name: str  # name of the judge
    bundle: str  # digest of the bundle
    thresholds: dict[str, float]  # kind -> least score that is rejected, in the order of the map's channels
    stride: int  # input pixels between neighbouring cells of the map
    min_area_px: int = 0  # in frame pixels
    masks: bool = False  # each region gets a mask
    region_from: float | None = None  # least map value shown as a region, for models that decide by a score
    calibration: NDArray[np.float64] | None = None  # scores of good parts, rising
    calibrated_at: dict[str, float] | None = None  # thresholds at calibration: map scores are divided by them
    ignored: NDArray[np.bool_] | None = None  # (h, w): cells of the map that count for nothing


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one judge decided about one part. Regions are in frame pixels, strongest first."""

    verdict: VerdictKind
    reason: Reason
    score: float
    threshold: float
    p_value: float | None  # None if the judge is not calibrated
    reject_reason: Literal["defect", "product"]  # what this judge rejects parts for
    regions: list[Region]  # what looks wrong, even if the part is not rejected


def decide(
    outputs: dict[str, NDArray[np.float32]],
    to_frame: tuple[float, float, float, float, float, float],
    rule: Rule,
) -> Judgement:
    """Decide whether one judge's outputs reject a part by the judge's rule.

    An output `score` `(1,)` decides alone; `map` `(1, 1, h, w)` then only shows where the part looks wrong.
    Without `score`, `map` `(1, K, h, w)` decides for each of K kinds, and `extents` `(1, 4, h, w)`, if the
    model has them, give the size of defects. The judgement's score is then the highest map value of one kind:
    the kind with the largest ratio of highest value to threshold. All outputs are float32. `to_frame` is the
    2x3 matrix, row by row, that converts pixels of the model's input to pixels of the frame. Raise PartError
    with the reason `score` if an output is not finite.
    """
    for name, array in outputs.items():
        # Testing the sum takes a tenth of the time of testing every value.
        if not np.isfinite(array.sum()):
            raise PartError("score", f"the engine's output {name!r} is not finite everywhere")
    if "score" in outputs:
        return _by_score(outputs, to_frame, rule)
    map_ = _counted(outputs["map"][0], rule)
    regions = _regions(map_, outputs.get("extents"), rule.thresholds, to_frame, rule)
    peaks = map_.reshape(len(map_), -1).max(axis=1)
    limits = np.array(list(rule.thresholds.values()), np.float32)
    nearest = int((peaks / np.maximum(limits, 1e-6)).argmax())
    calibrated = np.array(list((rule.calibrated_at or rule.thresholds).values()), np.float32)
    # At 1 the score is at the threshold of a kind.
    exhausted = float((peaks / np.maximum(calibrated, 1e-6)).max())
    return Judgement(
        verdict="reject" if regions else "pass",
        reason="defect" if regions else "clean",
        score=round(float(peaks[nearest]), 5),
        threshold=float(list(rule.thresholds.values())[nearest]),
        p_value=_p_value(exhausted, rule),
        reject_reason="defect",
        regions=regions,
    )


def _by_score(
    outputs: dict[str, NDArray[np.float32]],
    to_frame: tuple[float, float, float, float, float, float],
    rule: Rule,
) -> Judgement:
    (kind, threshold), score = next(iter(rule.thresholds.items())), float(outputs["score"][0])
    rejected = score >= np.float32(threshold)
    reject_reason: Literal["defect", "product"] = "product" if kind == "product" else "defect"
    regions = []
    if "map" in outputs and rule.region_from is not None:
        regions = _regions(_counted(outputs["map"][0], rule), None, {kind: rule.region_from}, to_frame, rule)
    return Judgement(
        verdict="reject" if rejected else "pass",
        reason=reject_reason if rejected else "clean",
        score=round(score, 5),
        threshold=threshold,
        p_value=_p_value(score, rule),
        reject_reason=reject_reason,
        regions=regions,
    )


def _counted(map_: NDArray[np.float32], rule: Rule) -> NDArray[np.float32]:
    """Return the map `(K, h, w)`, below every threshold in the cells that the rule ignores."""
    return map_ if rule.ignored is None else np.where(rule.ignored, np.float32(-np.inf), map_)


def _p_value(score: float, rule: Rule) -> float | None:
    return None if rule.calibration is None else float(p_value(score, rule.calibration))


def _regions(
    map_: NDArray[np.float32],
    extents: NDArray[np.float32] | None,
    thresholds: dict[str, float],
    to_frame: tuple[float, float, float, float, float, float],
    rule: Rule,
) -> list[Region]:
    """Return the regions in frame pixels, strongest first, at most MAX_REGIONS."""
    beside = None if extents is None else extents[0]
    found = find_cells(map_, beside, thresholds=thresholds, stride=rule.stride)
    framed = ((_in_frame(region, to_frame), cells) for region, cells in found)
    large = ((box, cells) for box, cells in framed if box.area_px >= rule.min_area_px)
    kept = islice(large, MAX_REGIONS)
    if not rule.masks:
        return [box for box, _ in kept]
    return [
        msgspec.structs.replace(box, mask=mask_in_frame(cells.of_region(), box, to_frame, rule.stride))
        for box, cells in kept
    ]


def _in_frame(region: Region, to_frame: tuple[float, float, float, float, float, float]) -> Region:
    """Convert a region to frame pixels. Its box becomes the upright box around its four corners."""
    a, b, c, d, e, f = to_frame
    xs = [a * x + b * y + c for x in (region.x, region.x + region.w) for y in (region.y, region.y + region.h)]
    ys = [d * x + e * y + f for x in (region.x, region.x + region.w) for y in (region.y, region.y + region.h)]
    return Region(
        x=round(min(xs), 2),
        y=round(min(ys), 2),
        w=round(max(xs) - min(xs), 2),
        h=round(max(ys) - min(ys), 2),
        area_px=round(region.area_px * abs(a * e - b * d)),
        score=round(region.score, 5),
        kind=region.kind,
    )
