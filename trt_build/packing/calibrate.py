"""Turns scores of good parts into a threshold, and says in numbers and in words what the threshold promises.

These parts must not be used for any other choice: not for the weights, not for when to stop the training, not
for how to centre or scale the scores. The scores must come from the engine that will judge, because another
precision gives other scores.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from edge.errors import EdgeError
from edge.manifest import Threshold, least_rejected
from trt_build.data.rates import scores_for

FloatArray = npt.NDArray[np.floating[Any]]

#: With fewer excesses, the shape of a tail cannot be told. TAIL is the share of the scores that are the tail.
LEAST_EXCESSES = 30
TAIL = 0.05
RESAMPLES = 500


class CalibrationError(EdgeError, ValueError):
    """The error if no threshold can be set from some scores. If they are too few, it says how many suffice."""


def conformal(scores: FloatArray, *, rate: float) -> Threshold:
    """Return the split conformal threshold, which rejects on average at most the share `rate` of good parts.

    `scores` are `(n,)`, of good parts that are exchangeable with (sampled like) future good parts. Scores may
    have any distribution. Raise CalibrationError for fewer than 1/rate - 1 scores. `edge.judges.pvalue` gives
    the p-value that belongs to this threshold. See Bates et al., Annals of Statistics 51, 2023 (arXiv
    2104.08279).
    """
    ranked = _ranked(scores, rate)
    n = len(ranked)
    # Of n + 1 parts this many may score as high as the threshold or higher.
    allowed = math.floor((n + 1) * rate + 1e-9)
    if allowed < 1:
        raise _too_few(n, rate, "", scores_for(rate))
    return Threshold(
        method="conformal",
        rate=rate,
        n=n,
        threshold=least_rejected(ranked[n - allowed]),
        note=f"On average over calibrations at most {_percent(rate)} of good parts are rejected.",
    )


def conditional(scores: FloatArray, *, rate: float, confidence: float = 0.95) -> Threshold:
    """Return the threshold that, with probability `confidence`, rejects at most the share `rate` of good parts.

    `scores` are `(n,)`, of independent good parts that are like future parts. The share of good parts above the
    k-th of n scores has the distribution Beta(n - k + 1, k), whatever the scores' distribution. The threshold
    has the lowest k that keeps the promise. Raise CalibrationError for fewer than ln(1 - confidence) /
    ln(1 - rate) scores. See Vovk, Machine Learning 92, 2013 (arXiv 1209.2673).
    """
    ranked = _ranked(scores, rate)
    check_share("confidence", confidence)
    n = len(ranked)
    k = np.arange(1, n + 1)
    keeps = stats.beta.cdf(rate, n - k + 1, k) >= confidence
    if not keeps.any():
        sure = f" with {_percent(confidence)} confidence"
        raise _too_few(n, rate, sure, scores_for(rate, confidence))
    return Threshold(
        method="conditional",
        rate=rate,
        confidence=confidence,
        n=n,
        threshold=least_rejected(ranked[keeps.argmax()]),
        note=f"With {_percent(confidence)} confidence at most {_percent(rate)} of good parts are rejected.",
    )


def extrapolated(
    scores: FloatArray, *, rate: float, tail: float = TAIL, confidence: float = 0.95, seed: int = 0
) -> Threshold:
    """Return the threshold that about the share `rate` of good parts exceeds, estimated from the top scores.

    `scores` are `(n,)`. The share `tail` of them, the highest, is the tail. Excesses are how far the scores of
    the tail exceed the highest other score. A generalised Pareto distribution, fitted to the excesses by
    probability-weighted moments, gives the threshold, which may exceed all scores (peaks over threshold). The
    rate is not guaranteed. `interval` is from a bootstrap. A `misfit` well over 0.1 means a bad fit. Raise
    CalibrationError for fewer than 30 excesses, or if `rate` is not below `tail`. See Hosking and Wallis,
    Technometrics 29, 1987; Siffer et al., KDD 2017.
    """
    ranked = _ranked(scores, rate)
    check_share("tail", tail)
    check_share("confidence", confidence)
    if rate >= tail:
        raise CalibrationError(f"rate: expected less than the tail's {tail}, found {rate}: ask `conformal`")
    n = len(ranked)
    count = math.floor(tail * n + 1e-9)
    if count < LEAST_EXCESSES:
        needed = math.ceil(LEAST_EXCESSES / tail)
        raise CalibrationError(
            f"{n} scores have {count} in their highest {_percent(tail)}, and a tail is fitted to "
            f"{LEAST_EXCESSES} or more: {needed} scores would do"
        )
    start, excesses = float(ranked[n - count - 1]), ranked[n - count :] - ranked[n - count - 1]
    if not excesses.any():
        raise CalibrationError(
            f"the highest {count} of {n} scores all equal the next: there is no tail to follow"
        )
    shape, scale = _fit(excesses)
    over = float(_quantile(shape, scale, rate * n / count))
    low, high = _interval(excesses, n, rate, confidence, seed)
    fitted = _quantile(shape, scale, 1 - (np.arange(count) + 0.5) / count)
    return Threshold(
        method="extrapolated",
        rate=rate,
        confidence=confidence,
        n=n,
        threshold=least_rejected(start + over),
        note=(
            f"Extrapolated: if the tail of {n} scores goes on as its {count} highest do, about "
            f"{_percent(rate)} of good parts are rejected; this is a model, not a guarantee."
        ),
        interval=(start + low, start + high),
        misfit=float(np.abs(excesses - fitted).mean() / excesses.mean()),
    )


def _too_few(n: int, rate: float, how: str, needed: int) -> CalibrationError:
    """Return the error for `n` scores, which are too few. Its text says that `needed` scores are enough."""
    return CalibrationError(
        f"{n} scores of good parts cannot hold the false rejects to {_percent(rate)}{how}: {needed} would do; "
        "take more good parts, or ask for a higher rate"
    )


def _fit(excesses: npt.NDArray[np.float64]) -> tuple[Any, Any]:
    """Return shape and scale of the generalised Pareto distribution that fits the excesses best.

    `excesses` are `(..., N)` in rising order. Shape and scale are each `(...)`, found by probability-weighted
    moments. A shape of 0 is the exponential distribution.
    """
    count = excesses.shape[-1]
    mean = excesses.mean(axis=-1)
    weighted = (excesses * (1 - (np.arange(1, count + 1) - 0.35) / count)).mean(axis=-1)
    # Without the least value this would be 0 if all excesses are equal.
    spread = np.maximum(mean - 2 * weighted, 1e-12 * mean + 1e-300)
    return 2 - mean / spread, 2 * mean * weighted / spread


def _interval(
    excesses: npt.NDArray[np.float64], n: int, rate: float, confidence: float, seed: int
) -> tuple[float, float]:
    """Return the interval, by a bootstrap, of how far the threshold is above the start of the tail.

    `excesses` are `(N,)`, the tail of `n` scores. Both the excesses and their number are drawn anew.
    """
    rng = np.random.default_rng(seed)
    count = len(excesses)
    resampled = np.sort(rng.choice(excesses, (RESAMPLES, count)), axis=1)
    counts = np.maximum(rng.binomial(n, count / n, RESAMPLES), 1)
    over = _quantile(*_fit(resampled), rate * n / counts)
    low, high = np.quantile(over, (0.5 - confidence / 2, 0.5 + confidence / 2))
    return float(low), float(high)


def _quantile(shape: Any, scale: Any, beyond: Any) -> Any:
    """Return the value that the share `beyond` of excesses with this Pareto `shape` and `scale` is above."""
    bent = np.where(np.abs(shape) < 1e-9, 1e-9, shape)
    return scale * np.expm1(-bent * np.log(beyond)) / bent


def _ranked(scores: FloatArray, rate: float) -> npt.NDArray[np.float64]:
    """Return the scores as `(n,)` float64 in rising order. Raise CalibrationError unless all are finite."""
    check_share("rate", rate)
    found = np.asarray(scores, np.float64)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise CalibrationError(
            f"scores: expected finite numbers (n,), found {found.shape}, {int((~np.isfinite(found)).sum())} of "
            "them not finite: score the good parts anew"
        )
    return np.sort(found)


def check_share(name: str, value: float) -> None:
    """Raise CalibrationError, which begins with `name`, unless `value` is between 0 and 1."""
    if not 0 < value < 1:
        raise CalibrationError(f"{name}: expected a share between 0 and 1, found {value}")


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
