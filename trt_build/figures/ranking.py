"""Scores and maps of good and defective parts into figures: AUROC, AP, F1, AUPRO, escape and overkill.

All curves come of one sweep, in which the scores of what is good are sorted once and counted at each score
of what is defective: between two of those a curve cannot turn. Scores are compared as they are, float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import stats

from edge.errors import EdgeError

FloatArray = npt.NDArray[np.floating[Any]]
Maps = Sequence[FloatArray] | FloatArray  # of (H, W)
Masks = Sequence[npt.NDArray[np.bool_]] | npt.NDArray[np.bool_]  # of (H, W), True where defective


class ScoreError(EdgeError, ValueError):
    """Scores, maps or masks that no figure can be made of; says which and why."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What lies at or over each distinct score of something defective, highest first; all `(T,)`."""

    thresholds: npt.NDArray[np.float32]
    over: npt.NDArray[np.int64]  # good ones over it
    false_positives: npt.NDArray[np.int64]  # good ones at or over it
    true_positives: npt.NDArray[np.int64]  # defective ones at or over it
    covered: npt.NDArray[np.float64]  # mean over the defects of the part of each that is
    good: int  # good ones in all

    @property
    def auroc(self) -> float:
        """The chance that a defective one scores higher than a good one, an equal score counted half."""
        new = np.diff(self.true_positives, prepend=0)
        beaten = self.good - (self.over + self.false_positives) / 2
        return float((new * beaten).sum() / (float(self.true_positives[-1]) * self.good))

    @property
    def ap(self) -> float:
        """Average precision: the mean of the precision at the score of each defective one, no envelope."""
        new = np.diff(self.true_positives, prepend=0)
        return float(
            (new * self.true_positives / (self.true_positives + self.false_positives)).sum()
            / self.true_positives[-1]
        )

    @property
    def f1_max(self) -> tuple[float, float]:
        """The highest F1 and its threshold, at or over which is rejected: chosen with the labels, a bound."""
        f1 = 2 * self.true_positives / (self.true_positives + self.false_positives + self.true_positives[-1])
        return float(f1.max()), float(self.thresholds[f1.argmax()])

    def aupro(self, limit: float) -> float:
        """Area under covered part over false positive rate up to `limit`, divided by `limit`: 0..1.

        Each region counts alike whatever its size; the curve is not rescaled (Bergmann et al., CVPR 2019).
        """
        return _area(*self._corners(self.covered), limit)

    def roc(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The corners of the ROC curve, false and true positive rate `(2T+2,)`, from (0, 0) to (1, 1)."""
        return self._corners(self.true_positives / self.true_positives[-1])

    def _corners(
        self, reached: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """False positive rate and `reached` before and at each threshold: straight between the two."""
        rates = np.stack((self.over, self.false_positives), axis=1).ravel() / self.good
        heights = np.stack((np.append(0.0, reached[:-1]), reached), axis=1).ravel()
        return np.concatenate(([0.0], rates, [1.0])), np.concatenate(([0.0], heights, [1.0]))


def sweep(good: FloatArray, bad: FloatArray) -> Sweep:
    """Scores `(N,)` of good and `(M,)` of defective parts, higher is worse."""
    return _sweep(_scores("good", good).copy(), _scores("bad", bad), np.full(len(bad), 1 / max(len(bad), 1)))


def sweep_pixels(maps: Maps, masks: Masks) -> Sweep:
    """All pixels of all test pictures; a defect is a region of a mask, joined at sides or corners.

    Needs about three times the memory of the maps as float32.
    """
    good, bad, weights = [], [], []
    regions = 0
    for number, (map_, mask) in enumerate(zip(maps, masks, strict=True)):
        if map_.shape != mask.shape or mask.dtype != np.bool_:
            raise ScoreError(
                f"map {number}: is {map_.shape}, its mask {mask.shape} {mask.dtype}: expected a mask of "
                "bool and a map of its shape, which `resize_map` gives"
            )
        scores = _scores(f"map {number}", map_.reshape(-1))
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        inside = labels[mask]
        regions += count - 1
        good.append(scores[~mask.reshape(-1)])
        bad.append(scores[mask.reshape(-1)])
        weights.append(1 / np.bincount(inside, minlength=1)[inside])
    if not regions:
        raise ScoreError("masks: expected at least one defect, found none in any")
    good_pixels = np.concatenate(good)
    del good
    return _sweep(good_pixels, np.concatenate(bad), np.concatenate(weights) / regions)


def image_auroc(good: FloatArray, bad: FloatArray) -> float:
    """As `Sweep.auroc`, of the scores of good and of defective parts."""
    return sweep(good, bad).auroc


def f1_max(good: FloatArray, bad: FloatArray) -> tuple[float, float]:
    """As `Sweep.f1_max`, of the scores of good and of defective parts."""
    return sweep(good, bad).f1_max


def pixel_auroc(maps: Maps, masks: Masks) -> float:
    """As `Sweep.auroc`, of all pixels; for several figures ask one `sweep_pixels`, which takes the time."""
    return sweep_pixels(maps, masks).auroc


def pixel_ap(maps: Maps, masks: Masks) -> float:
    """As `Sweep.ap`, of all pixels."""
    return sweep_pixels(maps, masks).ap


def pixel_f1_max(maps: Maps, masks: Masks) -> float:
    """The highest F1 over all thresholds, of all pixels."""
    return sweep_pixels(maps, masks).f1_max[0]


def aupro(maps: Maps, masks: Masks, limit: float) -> float:
    """As `Sweep.aupro`."""
    return sweep_pixels(maps, masks).aupro(limit)


def resize_map(map_: FloatArray, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A map `(1, h, w)` over the whole picture as `(H, W)`, bilinear between the centres of its cells."""
    cells = np.ascontiguousarray(map_[0], np.float32)
    return np.asarray(cv2.resize(cells, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How many of how many, with its exact 95 % interval."""

    count: int
    of: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        return self.count / self.of


def escape_and_overkill(good: FloatArray, bad: FloatArray, threshold: float) -> tuple[Rate, Rate]:
    """Defective parts passed and good parts rejected, where a score over the threshold rejects."""
    # As float64, or else the threshold would be rounded to float32, maybe past a score.
    escaped = int((_scores("bad", bad).astype(np.float64) <= threshold).sum())
    killed = int((_scores("good", good).astype(np.float64) > threshold).sum())
    return _rate(escaped, len(bad)), _rate(killed, len(good))


def clopper_pearson(count: int, of: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a rate that was seen `count` times `of` times (Biometrika 26, 1934)."""
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, count, of - count + 1)) if count else 0.0
    high = float(stats.beta.ppf(1 - tail, count + 1, of - count)) if count < of else 1.0
    return low, high


def _rate(count: int, of: int) -> Rate:
    low, high = clopper_pearson(count, of)
    return Rate(count=count, of=of, low=low, high=high)


def _scores(name: str, scores: FloatArray) -> npt.NDArray[np.float32]:
    """Finite scores `(N,)`, at least one."""
    found = np.asarray(scores, np.float32)
    if found.ndim != 1 or not len(found):
        raise ScoreError(f"{name}: expected scores (N,), at least one, found {found.shape}")
    if not np.isfinite(found).all():
        raise ScoreError(f"{name}: {int((~np.isfinite(found)).sum())} of {len(found)} scores are not finite")
    return found


def _sweep(
    good: npt.NDArray[np.float32], bad: npt.NDArray[np.float32], weights: npt.NDArray[np.float64]
) -> Sweep:
    """The one sorting; `weights` `(M,)` add up to one. `good` is sorted in place."""
    if not len(good):
        raise ScoreError("masks: expected some pixel without a defect, found none")
    good.sort()
    order = np.argsort(bad)[::-1]
    bad, weights = bad[order], weights[order]
    last = np.append(np.flatnonzero(np.diff(bad)), len(bad) - 1)  # of each run of equal scores
    rising = bad[last][::-1]
    return Sweep(
        thresholds=bad[last],
        over=len(good) - np.searchsorted(good, rising, side="right")[::-1],
        false_positives=len(good) - np.searchsorted(good, rising, side="left")[::-1],
        true_positives=last + 1,
        covered=np.cumsum(weights)[last],
        good=len(good),
    )


def _area(rates: npt.NDArray[np.float64], heights: npt.NDArray[np.float64], limit: float) -> float:
    """Mean height from 0 to `limit` of the line through the corners."""
    if not 0 < limit <= 1:
        raise ScoreError(f"limit: expected a false positive rate in 0..1, found {limit}")
    inside = rates <= limit
    x = np.append(rates[inside], limit)
    y = np.append(heights[inside], np.interp(limit, rates, heights))
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2 / limit)
