"""Tests whether the scores of accepted parts rise, by a bet against their conformal p-values.

The p-value of a part is its rank among the scores of the calibration and of all accepted parts before it, with
ties broken at random. While all of these are exchangeable, such p-values are independent and uniform (Vovk,
Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005). A bet on low p-values
multiplies a capital of 1 at each part by a factor of mean 1, so the capital ever reaches C with a probability
of 1/C at most (Ville 1939). The factors are those of the power martingale (Vovk, Nouretdinov, Gammerman,
"Testing exchangeability on-line", ICML 2003), in a mixture over its exponent and over the part from which the
bets begin. Each start gets a fixed share of the capital beforehand, so evidence against an early start does
not hide a late change.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct, field

#: Exponents of the power martingale. Low ones win fast on a large change, high ones on a small change.
EXPONENTS = (0.2, 0.4, 0.6, 0.8)
#: The capital is not counted beyond this.
MOST = 1e100

_Count = Annotated[int, Meta(ge=0)]


class Bets(Struct, kw_only=True):
    """What the test of one judge remembers, also over a restart of the line."""

    counts: list[_Count]  # accepted parts so far, by the number of calibration scores that are at least as high
    parts: _Count = 0  # since the test began
    capital: list[float] = field(default_factory=lambda: [0.0] * len(EXPONENTS))  # at stake, by exponent
    own: bool = False  # parts are compared with each other alone, not with the calibration


class Drift:
    """The test of one judge, whose calibration has `scores` scores."""

    def __init__(self, scores: int, bets: Bets | None = None) -> None:
        """`bets` continues an earlier test. It is not used if it belongs to a calibration of another size."""
        fits = bets is not None and len(bets.counts) == scores + 1 and len(bets.capital) == len(EXPONENTS)
        self.bets = bets if bets is not None and fits else Bets(counts=[0] * (scores + 1))
        self._counts = np.array(self.bets.counts, np.int64)

    def note(self, p_value: float, tie: float) -> None:
        """Bet on the next accepted part. `p_value` is the judge's; `tie` is random, uniform in 0..1."""
        bets, prior = self.bets, int(not self.bets.own)
        place = min(max(round(p_value * len(self._counts)) - 1, 0), len(self._counts) - 1)
        below = int(self._counts[:place].sum()) + prior * place
        equal = int(self._counts[place]) + 1
        total = int(self._counts.sum()) + (len(self._counts) if prior else 1)
        rank = max((below + tie * equal) / total, 1e-12)
        self._counts[place] += 1
        bets.counts[place] += 1
        bets.parts += 1
        share = (_reserve(bets.parts - 1) - _reserve(bets.parts)) / len(EXPONENTS)
        bets.capital = [
            min((at_stake + share) * exponent * rank ** (exponent - 1), MOST)
            for at_stake, exponent in zip(bets.capital, EXPONENTS, strict=True)
        ]

    @property
    def capital(self) -> float:
        """The capital now. While nothing changes, it ever reaches C with a probability of 1/C at most."""
        return _reserve(self.bets.parts) + sum(self.bets.capital)

    def restart(self, *, learn: bool) -> None:
        """Begin the test anew. If `learn`, forget the calibration, and compare the parts that come alone."""
        self.bets.parts, self.bets.capital = 0, [0.0] * len(EXPONENTS)
        if learn:
            self.bets.own = True
            self._counts[:] = 0
            self.bets.counts = [0] * len(self._counts)


def _reserve(parts: int) -> float:
    """Return the share of the capital that is not yet at stake after so many parts."""
    return 1 / math.log2(parts + 2)
