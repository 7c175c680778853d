"""Computes how many good parts a limit on false rejects needs, and which limit a number of good parts allows.

A threshold is the highest of n scores of good parts, or a lower one. It promises a limit on the share of good
parts that are rejected, either on average over calibrations (`confidence` is None; Bates et al., arXiv
2104.08279) or with a probability (Vovk, arXiv 1209.2673). Both hold for any distribution of the scores.
"""

from __future__ import annotations

import math
from statistics import NormalDist

#: Probability with which `parts_for` good parts leave enough of them for the threshold.
SURE = 0.99
_QUANTILE = NormalDist().inv_cdf(SURE)


def scores_for(rate: float, confidence: float | None = None) -> int:
    """Return the least number of good parts' scores with which a threshold can promise the rate, 0 to 1."""
    if confidence is None:
        return math.ceil(1 / rate - 1e-9) - 1
    return math.ceil(math.log(1 - confidence) / math.log1p(-rate))


def rate_of(scores: int, confidence: float | None = None) -> float:
    """Return the lowest rate, 0 to 1, that a threshold from this many scores of good parts can promise."""
    if not scores:
        return 1.0
    return 1 / (scores + 1) if confidence is None else 1 - (1 - confidence) ** (1 / scores)


def parts_for(scores: int, share: float) -> int:
    """Return how many good parts to take so that at least `scores` of them are kept for the threshold.

    Each part is kept with the probability `share`. The number is enough with a probability of about SURE (the
    binomial distribution, approximated by a normal one), and rounded to tens.
    """
    spread = _QUANTILE * math.sqrt(share * (1 - share))
    root = (spread + math.sqrt(spread**2 + 4 * share * scores)) / (2 * share)
    return 10 * round(root**2 / 10)
