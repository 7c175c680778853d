"""Scores of good parts into a threshold, with what it promises in numbers and in plain words.

The scores are of parts that nothing else was chosen with: not trained with, not looked at to stop, to
centre or to scale. They come from the engine that will judge: another precision scores otherwise.
A score over the threshold rejects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from edge.errors import EdgeError

FloatArray = npt.NDArray[np.floating[Any]]

LEAST_EXCESSES = 30  # with fewer, the shape of a tail is anybody's guess
RESAMPLES = 500


class CalibrationError(EdgeError, ValueError):
    """A threshold that these scores cannot give; says how many would do."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A threshold and what it was set with; kept with the digest of the engine that gave the scores."""

    method: Literal["conformal", "conditional", "extrapolated"]
    rate: float  # good parts rejected that were asked for, at most
    confidence: float | None  # that the rate is kept (conditional), or of the interval (extrapolated)
    n: int  # scores of good parts
    threshold: float  # infinity only where a caller allowed it: such a line rejects nothing
    note: str
    interval: tuple[float, float] | None = None  # of an extrapolated threshold
    misfit: float | None = None  # of an extrapolated tail: mean distance in the QQ plot over the mean excess


def conformal(scores: FloatArray, *, rate: float, strict: bool = True) -> Calibration:
    """Split conformal: on average over calibrations at most `rate` of good parts are rejected.

    Needs scores `(n,)` of good parts that are exchangeable with those to come, and nothing else: any
    distribution, any score. With fewer than 1/rate - 1 there is no such threshold: CalibrationError, or
    if not `strict` one that rejects nothing. `edge.judges.pvalue` gives the p-value that goes with it; Bates et
    al., Annals of Statistics 51, 2023 (arXiv 2104.08279).
    """
    ranked = _ranked(scores, rate)
    threshold, note = _at_rank(ranked, rate, strict)
    promise = f"On average over calibrations at most {_percent(rate)} of good parts are rejected."
    return Calibration(
        method="conformal", rate=rate, confidence=None, n=len(ranked), threshold=threshold, note=note or promise
    )


def conditional(
    scores: FloatArray, *, rate: float, confidence: float = 0.95, strict: bool = True
) -> Calibration:
    """Calibration-conditional: with `confidence`, at most `rate` of good parts are rejected from now on.

    The false rejects over the k-th of n scores are Beta(n - k + 1, k), whatever the distribution; k is the
    lowest that keeps the promise. With fewer than ln(1 - confidence) / ln(1 - rate) scores none does:
    CalibrationError, or if not `strict` a threshold that rejects nothing. Needs independent scores `(n,)`
    of good parts like those to come; Vovk, Machine Learning 92, 2013 (arXiv 1209.2673).
    """
    ranked = _ranked(scores, rate)
    _check_share("confidence", confidence)
    n = len(ranked)
    k = np.arange(1, n + 1)
    keeps = stats.beta.cdf(rate, n - k + 1, k) >= confidence
    if keeps.any():
        threshold = float(ranked[keeps.argmax()])
        note = f"With {_percent(confidence)} confidence at most {_percent(rate)} of good parts are rejected."
    else:
        needed = math.ceil(math.log(1 - confidence) / math.log1p(-rate))
        threshold, note = (
            math.inf,
            _too_few(n, rate, f" with {_percent(confidence)} confidence", needed, strict),
        )
    return Calibration(
        method="conditional", rate=rate, confidence=confidence, n=n, threshold=threshold, note=note
    )


def extrapolated(
    scores: FloatArray, *, rate: float, tail: float = 0.05, confidence: float = 0.95, seed: int = 0
) -> Calibration:
    """Peaks over threshold: where about `rate` of good parts would score higher if the tail goes on as it is.

    A generalised Pareto distribution is fitted, by probability-weighted moments, to what the highest `tail`
    of the scores exceed the rest by, and followed to rarer scores than were ever seen: a model, not a
    guarantee. `interval` is the bootstrap's; where `misfit` is well over 0.1 the tail is of another shape.
    CalibrationError with fewer than 30 excesses, or where `rate` is not rarer than `tail`. Hosking and
    Wallis, Technometrics 29, 1987; Siffer et al., KDD 2017.
    """
    ranked = _ranked(scores, rate)
    _check_share("tail", tail)
    _check_share("confidence", confidence)
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
    rng = np.random.default_rng(seed)
    resampled = np.sort(rng.choice(excesses, (RESAMPLES, count)), axis=1)
    counts = np.maximum(rng.binomial(n, count / n, RESAMPLES), 1)
    shapes, scales = _fit(resampled)
    ends = np.quantile(
        _quantile(shapes, scales, rate * n / counts), (0.5 - confidence / 2, 0.5 + confidence / 2)
    )
    fitted = _quantile(shape, scale, 1 - (np.arange(count) + 0.5) / count)
    return Calibration(
        method="extrapolated",
        rate=rate,
        confidence=confidence,
        n=n,
        threshold=start + over,
        note=(
            f"Extrapolated: if the tail of {n} scores goes on as its {count} highest do, about "
            f"{_percent(rate)} of good parts are rejected; this is a model, not a guarantee."
        ),
        interval=(start + float(ends[0]), start + float(ends[1])),
        misfit=float(np.abs(excesses - fitted).mean() / excesses.mean()),
    )


def _at_rank(ranked: npt.NDArray[np.float64], rate: float, strict: bool) -> tuple[float, str]:
    """The threshold at rank ceil((n+1)(1-rate)), and what to say where that is beyond the last score."""
    n = len(ranked)
    allowed = math.floor((n + 1) * rate + 1e-9)  # of n+1 parts, so many may score higher or as high
    if allowed >= 1:
        return float(ranked[n - allowed]), ""
    return math.inf, _too_few(n, rate, "", math.ceil(1 / rate - 1e-9) - 1, strict)


def _too_few(n: int, rate: float, how: str, needed: int, strict: bool) -> str:
    text = f"{n} scores of good parts cannot hold the false rejects to {_percent(rate)}{how}: {needed} would do"
    if strict:
        raise CalibrationError(f"{text}; take more good parts, or ask for a higher rate")
    return f"{text}. This threshold rejects nothing."


def _fit(excesses: npt.NDArray[np.float64]) -> tuple[Any, Any]:
    """Shape and scale of rising excesses `(..., N)` by probability-weighted moments; shape 0: exponential."""
    count = excesses.shape[-1]
    mean = excesses.mean(axis=-1)
    weighted = (excesses * (1 - (np.arange(1, count + 1) - 0.35) / count)).mean(axis=-1)
    spread = np.maximum(mean - 2 * weighted, 1e-12 * mean + 1e-300)  # nothing where all excesses are equal
    return 2 - mean / spread, 2 * mean * weighted / spread


def _quantile(shape: Any, scale: Any, beyond: Any) -> Any:
    """The excess that the share `beyond` of excesses lies over."""
    bent = np.where(np.abs(shape) < 1e-9, 1e-9, shape)
    return scale * np.expm1(-bent * np.log(beyond)) / bent


def _ranked(scores: FloatArray, rate: float) -> npt.NDArray[np.float64]:
    """Finite scores, rising."""
    _check_share("rate", rate)
    found = np.asarray(scores, np.float64)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise CalibrationError(
            f"scores: expected finite numbers (n,), found {found.shape}, {int((~np.isfinite(found)).sum())} of "
            "them not finite: score the good parts anew"
        )
    return np.sort(found)


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise CalibrationError(f"{name}: expected a share between 0 and 1, found {value}")


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
