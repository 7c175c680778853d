"""Computes AUROC, AP, F1, AUPRO, escapes and overkill from the scores and maps of good and defective parts.

All figures use the same counts: how many good and defective scores reach each threshold. Only scores of
defective parts are thresholds, as only there true positives change. Scores are compared as float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import EdgeError

FloatArray = npt.NDArray[np.floating[Any]]
#: Maps `(H, W)`, and masks `(H, W)` bool that are True where a defect is.
Maps = Sequence[FloatArray] | FloatArray
Mask = npt.NDArray[np.bool_]
Masks = Sequence[Mask] | Mask


class ScoreError(EdgeError, ValueError):
    """Figures cannot be computed from the given scores, maps or masks. The text says which, and why."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Counts of good and defective parts (or pixels) that reach each threshold. Each array is `(T,)`.

    The thresholds are the T different scores of defective parts, highest first.
    """

    thresholds: npt.NDArray[np.float32]
    over: npt.NDArray[np.int64]  # good parts above the score
    false_positives: npt.NDArray[np.int64]  # good parts at or above the score
    true_positives: npt.NDArray[np.int64]  # defective parts at or above the score
    covered: npt.NDArray[np.float64]  # mean share of each defect at or above the score
    good: int  # number of good parts

    @property
    def auroc(self) -> float:
        """The probability that a defective part scores higher than a good part. Equal scores count half."""
        new = np.diff(self.true_positives, prepend=0)
        beaten = self.good - (self.over + self.false_positives) / 2
        return float((new * beaten).sum() / (float(self.true_positives[-1]) * self.good))

    @property
    def ap(self) -> float:
        """The average precision: the mean of the precision at the score of each defective part."""
        new = np.diff(self.true_positives, prepend=0)
        return float(
            (new * self.true_positives / (self.true_positives + self.false_positives)).sum()
            / self.true_positives[-1]
        )

    @property
    def f1_max(self) -> tuple[float, float]:
        """The highest F1 and its threshold. F1 is optimistic: the threshold is chosen on the same parts."""
        f1 = 2 * self.true_positives / (self.true_positives + self.false_positives + self.true_positives[-1])
        return float(f1.max()), float(self.thresholds[f1.argmax()])

    def aupro(self, limit: float) -> float:
        """Return the area under the per-region overlap curve (AUPRO), divided by `limit`.

        The curve shows the covered share of a defect's pixels, averaged over all defects with equal weight,
        over the false positive rate from 0 to `limit`. Shares are not rescaled (Bergmann et al., CVPR 2019).
        """
        return _area(*self._corners(self.covered), limit)

    def roc(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the corners of the ROC curve as false and true positive rates, `(2T+2,)` each."""
        return self._corners(self.true_positives / self.true_positives[-1])

    def _corners(
        self, reached: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return rates and heights, `(2T+2,)` each, of the curve of `reached` over the false positive rate."""
        rates = np.stack((self.over, self.false_positives), axis=1).ravel() / self.good
        heights = np.stack((np.append(0.0, reached[:-1]), reached), axis=1).ravel()
        return np.concatenate(([0.0], rates, [1.0])), np.concatenate(([0.0], heights, [1.0]))


def sweep(good: FloatArray, bad: FloatArray) -> Sweep:
    """Count the good and defective parts that reach each threshold, from their scores `(N,)` and `(M,)`."""
    return _sweep(_scores("good", good).copy(), _scores("bad", bad), np.full(len(bad), 1 / max(len(bad), 1)))


def sweep_pixels(maps: Maps, masks: Masks, ignored: Sequence[Mask | None] | None = None) -> Sweep:
    """Count, for each possible threshold, the good and the defective pixels of all pictures that reach it.

    The share of each defect that reaches it is summed, too; a defect is an 8-connected region of a mask. Pixels
    that are True in a picture's `ignored`, `(H, W)` bool, do not count, and a defect that lies under them as a
    whole is none. Needs about three times the memory of the maps as float32.
    """
    good, bad, weights = [], [], []
    regions = 0
    for number, (map_, mask) in enumerate(zip(maps, masks, strict=True)):
        if map_.shape != mask.shape or mask.dtype != np.bool_:
            raise ScoreError(
                f"map {number}: is {map_.shape}, its mask {mask.shape} {mask.dtype}: expected a mask of "
                "bool and a map of its shape, which `resize_map` gives"
            )
        scores = _scores(f"map {number}", map_.reshape(-1)).reshape(mask.shape)
        _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        hidden = None if ignored is None else ignored[number]
        counted = np.ones_like(mask) if hidden is None else ~hidden
        inside = labels[mask & counted]
        sizes = np.bincount(inside, minlength=1)
        regions += int(np.count_nonzero(sizes))
        good.append(scores[~mask & counted])
        bad.append(scores[mask & counted])
        weights.append(1 / sizes[inside])
    if not regions:
        raise ScoreError("masks: expected at least one defect, found none in any")
    good_pixels = np.concatenate(good)
    del good
    return _sweep(good_pixels, np.concatenate(bad), np.concatenate(weights) / regions)


def image_auroc(good: FloatArray, bad: FloatArray) -> float:
    """Return the AUROC from the scores of good parts `(N,)` and defective parts `(M,)`."""
    return sweep(good, bad).auroc


def resize_map(map_: FloatArray, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize a map `(1, h, w)` to `(H, W)` float32 of the given shape, by bilinear interpolation."""
    cells = np.ascontiguousarray(map_[0], np.float32)
    return np.asarray(cv2.resize(cells, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of parts: the count, the total, and the exact limits of its 95 % confidence interval."""

    count: int
    of: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The count divided by the total, from 0 to 1."""
        return self.count / self.of


def escape_and_overkill(good: FloatArray, bad: FloatArray, threshold: float) -> tuple[Rate, Rate]:
    """Return the share of defective parts that pass (escapes) and of good parts that are rejected (overkill).

    `good` and `bad` are scores, `(N,)` and `(M,)`. `threshold` is the lowest score that is rejected.
    """
    return escape_of(bad, threshold), overkill_of(good, threshold)


def escape_of(bad: FloatArray, threshold: float) -> Rate:
    """Return the share of defective parts that pass: whose scores, `(M,)`, are below the threshold."""
    return _rate(int((_scores("bad", bad) < np.float32(threshold)).sum()), len(bad))


def overkill_of(good: FloatArray, threshold: float) -> Rate:
    """Return the share of good parts that are rejected: whose scores, `(N,)`, reach the threshold."""
    return _rate(int((_scores("good", good) >= np.float32(threshold)).sum()), len(good))


def clopper_pearson(count: int, of: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact confidence interval of a rate of `count` out of `of` (Biometrika 26, 1934)."""
    # Imported here, since packing and verifying on a line's device need no scipy.
    from scipy import stats

    interval = stats.binomtest(count, of).proportion_ci(confidence_level=confidence, method="exact")
    return float(interval.low), float(interval.high)


def _rate(count: int, of: int) -> Rate:
    low, high = clopper_pearson(count, of)
    return Rate(count=count, of=of, low=low, high=high)


def _scores(name: str, scores: FloatArray) -> npt.NDArray[np.float32]:
    """Return the scores as `(N,)` float32. Raise ScoreError if there are none or if any is not finite."""
    found = np.asarray(scores, np.float32)
    if found.ndim != 1 or not len(found):
        raise ScoreError(f"{name}: expected scores (N,), at least one, found {found.shape}")
    if not np.isfinite(found).all():
        raise ScoreError(f"{name}: {int((~np.isfinite(found)).sum())} of {len(found)} scores are not finite")
    return found


def _sweep(
    good: npt.NDArray[np.float32], bad: npt.NDArray[np.float32], weights: npt.NDArray[np.float64]
) -> Sweep:
    """Count the good `(N,)` and defective `(M,)` scores that reach each threshold. Sort `good` in place.

    `weights`, `(M,)`, say how much of the defects each score covers. Their sum is 1.
    """
    if not len(good):
        raise ScoreError("masks: expected some pixel without a defect, found none")
    good.sort()
    order = np.argsort(bad)[::-1]
    bad, weights = bad[order], weights[order]
    # Index of the last score of each run of equal scores.
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
    """Return the mean height of the line through the corners, for rates from 0 to `limit`."""
    if not 0 < limit <= 1:
        raise ScoreError(f"limit: expected a false positive rate in 0..1, found {limit}")
    inside = rates <= limit
    x = np.append(rates[inside], limit)
    y = np.append(heights[inside], np.interp(limit, rates, heights))
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2 / limit)
