"""Turns scores into p-values, which say how rare a score is among good parts, and combines several p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

How = Literal["bonferroni", "fisher"]


def p_value(scores: Any, calibration: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the conformal p-values of `scores` in float64, in the same shape. They are from 1/(n+1) to 1.

    `scores` is a number or an array of any shape. `calibration` `(n,)` has the scores of n good parts in rising
    order. A p-value is the share, among the n good parts and the judged part, that scores at least as high as
    the judged part. If new good parts are exchangeable with those of the calibration, at most a share r of the
    new ones gets a p-value of r or less, whatever the scores mean. This holds on average over calibrations,
    not for each calibration. The p-values of parts that were judged with the same calibration are not
    independent. A score of NaN gets the lowest p-value.

    Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005; Bates et al., Annals of Statistics
    51, 2023 (arXiv 2104.08279).
    """
    below = np.searchsorted(calibration, scores, side="left")
    return np.asarray((1 + len(calibration) - below) / (len(calibration) + 1), np.float64)


def combine(ps: Sequence[float] | NDArray[np.floating[Any]], how: How) -> float:
    """Combine several p-values `(k,)` of the same part into one p-value.

    Raise ValueError if `ps` is empty or if a p-value is not between 0 and 1.

    `bonferroni` multiplies the lowest p-value by k. It detects one strong sign, and is valid however the
    p-values depend on each other. Use it for several pictures of one part, or several models that judge it: all
    see the same part in the same light.

    `fisher` returns the probability that the product of k independent p-values is as low as the product of
    `ps`, or lower. It adds up many weak signs. It is valid only if the p-values of good parts are independent.
    If they are positively correlated, it rejects more good parts than it promises. Fisher, Statistical Methods
    for Research Workers, 1932: minus twice the sum of logarithms is chi-square with 2k degrees of freedom, and
    its tail is a finite sum.
    """
    p = np.asarray(ps, np.float64)
    if p.ndim != 1 or not len(p) or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values: expected at least one, each in 0..1, found {ps!r}")
    if how == "bonferroni":
        return float(min(1.0, len(p) * p.min()))
    if not p.all():
        return 0.0
    half = float(-np.log(p).sum())
    # exp(-half) * sum of half^i / i!; each term is computed by its logarithm, so that none overflows.
    terms = (i * math.log(half) - math.lgamma(i + 1) - half for i in range(1, len(p))) if half else ()
    return min(1.0, math.exp(-half) + sum(math.exp(term) for term in terms))
