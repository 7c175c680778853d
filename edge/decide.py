"""Decide: Prediction -> verdict, a pure function of what the network said and of the rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import PartError
from .messages import Reason, Region, VerdictKind
from .regions import find_regions

MAX_REGIONS = 48  # a verdict names the strongest ones; a part that is all defects is not described further


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When an output becomes `reject`."""

    thresholds: dict[str, float]  # by kind, in the order of the map's channels
    stride: int  # input pixels between neighbouring cells of the map
    min_area_px: int = 0  # in frame pixels


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the rule says of one part; regions in frame pixels, strongest first."""

    verdict: VerdictKind
    reason: Reason
    score: float
    threshold: float
    regions: list[Region]


def decide(
    outputs: dict[str, NDArray[np.float32]],
    to_frame: tuple[float, float, float, float, float, float],
    rule: Rule,
) -> Judgement:
    """Hold the outputs against the rule.

    `outputs["map"]` is `(1, K, h, w)` float32, `outputs["extents"]`, if there, `(1, 4, h, w)`; `to_frame`
    is the 2x3 matrix, row by row, from model input to frame pixels. The score is the map's highest value
    of the kind that comes nearest to, or furthest over, its threshold. Raises PartError `score` where an
    output is not a number.
    """
    heat = outputs["map"][0]
    extents = outputs["extents"][0] if "extents" in outputs else None
    for name, array in outputs.items():
        if not np.isfinite(array.sum()):  # a tenth of the time that asking each value takes
            raise PartError("score", f"the engine's output {name!r} is not finite everywhere")
    found = find_regions(heat, extents, thresholds=rule.thresholds, stride=rule.stride)
    regions = [_in_frame(region, to_frame) for region in found]
    regions = [region for region in regions if region.area_px >= rule.min_area_px]
    peaks = heat.reshape(len(heat), -1).max(axis=1)
    limits = np.array(list(rule.thresholds.values()), np.float32)
    nearest = int(np.argmax(peaks / np.maximum(limits, 1e-6)))
    return Judgement(
        verdict="reject" if regions else "pass",
        reason="defect" if regions else "clean",
        score=round(float(peaks[nearest]), 5),
        threshold=float(list(rule.thresholds.values())[nearest]),
        regions=regions[:MAX_REGIONS],
    )


def _in_frame(region: Region, to_frame: tuple[float, float, float, float, float, float]) -> Region:
    """The upright box round the region once it is laid back into the frame."""
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
