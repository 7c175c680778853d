"""Computes AUROC, AP, F1, AUPRO, escapes and overkill from the scores and maps of good and defective parts.

All curves come from one sweep: the good scores are sorted once and counted at each defective score, since a
curve cannot bend between two of those. Scores are compared as float32.
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
#: Maps `(H, W)`, and masks `(H, W)` bool that are True where a defect is.
Maps = Sequence[FloatArray] | FloatArray
Masks = Sequence[npt.NDArray[np.bool_]] | npt.NDArray[np.bool_]


class ScoreError(EdgeError, ValueError):
    """Scores, maps or masks from which no figure can be computed; names them and says why."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Counts at each distinct score of something defective, highest first; each array is `(T,)`."""

    thresholds: npt.NDArray[np.float32]
    over: npt.NDArray[np.int64]  # good ones above the score
    false_positives: npt.NDArray[np.int64]  # good ones at or above the score
    true_positives: npt.NDArray[np.int64]  # defective ones at or above the score
    covered: npt.NDArray[np.float64]  # mean share of each defect at or above the score
    good: int  # number of good ones

    @property
    def auroc(self) -> float:
        """Return how probably a defective one scores higher than a good one; an equal score counts half."""
        new = np.diff(self.true_positives, prepend=0)
        beaten = self.good - (self.over + self.false_positives) / 2
        return float((new * beaten).sum() / (float(self.true_positives[-1]) * self.good))

    @property
    def ap(self) -> float:
        """Return the average precision: the mean precision at each defective one's score, without envelope."""
        new = np.diff(self.true_positives, prepend=0)
        return float(
            (new * self.true_positives / (self.true_positives + self.false_positives)).sum()
            / self.true_positives[-1]
        )

    @property
    def f1_max(self) -> tuple[float, float]:
        """Return the highest F1 and the threshold from which on it rejects: a bound, chosen with the labels."""
        f1 = 2 * self.true_positives / (self.true_positives + self.false_positives + self.true_positives[-1])
        return float(f1.max()), float(self.thresholds[f1.argmax()])

    def aupro(self, limit: float) -> float:
        """Return the area under covered share over false positive rate, up to `limit`, divided by it: 0 to 1.

        Each region has the same weight whatever its size; the curve is not rescaled (Bergmann et al., CVPR
        2019).
        """
        return _area(*self._corners(self.covered), limit)

    def roc(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the ROC curve's corners, false and true positive rates `(2T+2,)`, from (0, 0) to (1, 1)."""
        return self._corners(self.true_positives / self.true_positives[-1])

    def _corners(
        self, reached: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return false positive rate and `reached` `(T,)` before and at each threshold: corners `(2T+2,)`."""
        rates = np.stack((self.over, self.false_positives), axis=1).ravel() / self.good
        heights = np.stack((np.append(0.0, reached[:-1]), reached), axis=1).ravel()
        return np.concatenate(([0.0], rates, [1.0])), np.concatenate(([0.0], heights, [1.0]))


def sweep(good: FloatArray, bad: FloatArray) -> Sweep:
    """Return the sweep of scores `(N,)` of good and `(M,)` of defective parts; higher is worse."""
    return _sweep(_scores("good", good).copy(), _scores("bad", bad), np.full(len(bad), 1 / max(len(bad), 1)))


def sweep_pixels(maps: Maps, masks: Masks) -> Sweep:
    """Return the sweep of all pixels of all test pictures; a defect is an 8-connected region of a mask.

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
    """Return `Sweep.auroc` of the scores of good `(N,)` and of defective `(M,)` parts."""
    return sweep(good, bad).auroc


def resize_map(map_: FloatArray, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return a map `(1, h, w)` as float32 `(H, W)` of `shape`, bilinear between the centres of its cells."""
    cells = np.ascontiguousarray(map_[0], np.float32)
    return np.asarray(cv2.resize(cells, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A count out of a number, with the exact 95 % interval of its rate."""

    count: int
    of: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Return the count divided by the number, 0 to 1."""
        return self.count / self.of


def escape_and_overkill(good: FloatArray, bad: FloatArray, threshold: float) -> tuple[Rate, Rate]:
    """Return the rates of passed defective and of rejected good parts.

    `good` and `bad` are scores `(N,)` and `(M,)`; `threshold` is the least score that is rejected.
    """
    escaped = int((_scores("bad", bad) < np.float32(threshold)).sum())
    killed = int((_scores("good", good) >= np.float32(threshold)).sum())
    return _rate(escaped, len(bad)), _rate(killed, len(good))


def clopper_pearson(count: int, of: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a rate that was seen `count` out of `of` times (Biometrika 26, 1934)."""
    interval = stats.binomtest(count, of).proportion_ci(confidence_level=confidence, method="exact")
    return float(interval.low), float(interval.high)


def _rate(count: int, of: int) -> Rate:
    low, high = clopper_pearson(count, of)
    return Rate(count=count, of=of, low=low, high=high)


def _scores(name: str, scores: FloatArray) -> npt.NDArray[np.float32]:
    """Return the scores `(N,)` as float32; ScoreError unless there is one and all are finite."""
    found = np.asarray(scores, np.float32)
    if found.ndim != 1 or not len(found):
        raise ScoreError(f"{name}: expected scores (N,), at least one, found {found.shape}")
    if not np.isfinite(found).all():
        raise ScoreError(f"{name}: {int((~np.isfinite(found)).sum())} of {len(found)} scores are not finite")
    return found


def _sweep(
    good: npt.NDArray[np.float32], bad: npt.NDArray[np.float32], weights: npt.NDArray[np.float64]
) -> Sweep:
    """Sort and count; `weights` `(M,)` of the defective ones add up to 1. `good` `(N,)` is sorted in place."""
    if not len(good):
        raise ScoreError("masks: expected some pixel without a defect, found none")
    good.sort()
    order = np.argsort(bad)[::-1]
    bad, weights = bad[order], weights[order]
    # Index of the last one of each run of equal scores.
    last = np.append(np.flatnonzero(np.diff(bad)), len(bad) - 1)
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
    """Return the mean height, from rate 0 to `limit`, of the line through the corners `(C,)`."""
    if not 0 < limit <= 1:
        raise ScoreError(f"limit: expected a false positive rate in 0..1, found {limit}")
    inside = rates <= limit
    x = np.append(rates[inside], limit)
    y = np.append(heights[inside], np.interp(limit, rates, heights))
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2 / limit)
