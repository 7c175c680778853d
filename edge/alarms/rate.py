"""Tells from the last parts whether more of them are rejected than is allowed, by an exact binomial test."""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache

#: If parts are rejected at the allowed rate, independently, this is the probability that the parts of one
#: window are too many. Windows overlap, so a run of N parts raises a false alarm with a probability of N times
#: this at most.
RISK = 1e-9


class RejectRate:
    """The share of rejected parts among the last `window` parts, compared with the `allowed` rate."""

    def __init__(self, allowed: float, window: int) -> None:
        self._allowed = allowed
        self._last: deque[bool] = deque(maxlen=window)
        self.rejected = 0

    def note(self, rejected: bool) -> None:
        """Add the next part."""
        if len(self._last) == self._last.maxlen:
            self.rejected -= self._last[0]
        self._last.append(rejected)
        self.rejected += rejected

    @property
    def parts(self) -> int:
        """The number of parts in the window."""
        return len(self._last)

    @property
    def is_over(self) -> bool | None:
        """Whether more parts are rejected than chance explains at the allowed rate.

        False if not more than allowed are rejected. None in between: the evidence is too little for either.
        """
        if self.rejected >= least_rejects(self.parts, self._allowed):
            return True
        return False if self.parts and self.rejected <= self.parts * self._allowed else None


@lru_cache(maxsize=4096)
def least_rejects(parts: int, allowed: float) -> int:
    """Return the least number of rejects among `parts` that has a probability of RISK at most; or `parts` + 1.

    The probability is that of as many or more, if each part is rejected with the probability `allowed`,
    independently of the others: the tail of the binomial distribution.
    """
    tail = 0.0
    for rejects in range(parts, -1, -1):
        log_ways = math.lgamma(parts + 1) - math.lgamma(rejects + 1) - math.lgamma(parts - rejects + 1)
        tail += math.exp(log_ways + rejects * math.log(allowed) + (parts - rejects) * math.log1p(-allowed))
        if tail > RISK:
            return rejects + 1
    return 0
