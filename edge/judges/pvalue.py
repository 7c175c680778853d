"""Scores into p-values, and several p-values into one: how rare a part would be among good ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

How = Literal["bonferroni", "fisher"]


def p_value(scores: Any, calibration: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Conformal p-values of `scores`, a number or an array of any shape: same shape, in 1/(n+1)..1.

    `calibration` holds the scores of n good parts `(n,)`, rising. A score's p-value is the share of good
    parts, itself among them, that score as high: where new good parts are like those of the calibration
    (exchangeable with them), it is at most r for no more than r of them, whatever the score means. That
    holds on average over calibrations, not for each one. Parts judged with one calibration share its luck,
    so their p-values are not independent. A score that is not a number is rarer than any.

    Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005; Bates et al., Annals of
    Statistics 51, 2023 (arXiv 2104.08279).
    """
    below = np.searchsorted(calibration, scores, side="left")
    return np.asarray((1 + len(calibration) - below) / (len(calibration) + 1), np.float64)


def combine(ps: Sequence[float] | NDArray[np.floating[Any]], how: How) -> float:
    """One p-value of several about the same part; ValueError where one is outside of 0..1, or none is given.

    `bonferroni`: the least, times their number. Holds however they depend on each other; sees one strong
    sign. The choice for pictures or models of one part, since they see the same part in the same light.

    `fisher`: the chance that the product of as many independent ones is so small. Adds up many weak signs.
    Holds only where the p-values of good parts are independent; where they rise and fall together it
    rejects more good parts than it says. Fisher, Statistical Methods for Research Workers, 1932: minus
    twice the sum of logarithms is chi-square with 2k degrees of freedom, whose tail is a finite sum.
    """
    p = np.asarray(ps, np.float64)
    if p.ndim != 1 or not len(p) or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values: expected at least one, each in 0..1, found {ps!r}")
    if how == "bonferroni":
        return float(min(1.0, len(p) * p.min()))
    if not p.all():
        return 0.0
    half = float(-np.log(p).sum())
    # exp(-half) * sum of half^i / i!, each term by its logarithm: none of them overflows
    terms = (i * math.log(half) - math.lgamma(i + 1) - half for i in range(1, len(p))) if half else ()
    return min(1.0, math.exp(-half) + sum(math.exp(term) for term in terms))
