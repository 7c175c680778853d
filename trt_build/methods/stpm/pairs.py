"""Combines the maps of two pairs. The second pair counts only if it helps to find defects.

How much it counts is chosen on good parts that were not used in training, and on copies of them with pasted
defects (`pasted.py`). With a weight of zero, score and map are those of the first pair alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trt_build.methods.good_parts.maps import MapScale, mean_of_highest

#: Weights of the second pair that are tried. One half gives the mean of both pairs.
WEIGHTS = (0.0, 0.125, 0.25, 0.5)
#: A weight must separate defects better than none does, by this many standard errors: few parts may mislead.
ERRORS = 2.0


class Pairs(nn.Module):
    """Scales the maps of each pair, `(N, 1, h, w)` at K strides, and adds both by a weight.

    Until `fit` is called, the weight of the second pair is one half.
    """

    def __init__(self, strides: int) -> None:
        super().__init__()
        self._strides = strides
        self.first, self.second = MapScale(strides), MapScale(strides)
        self.weight: Tensor
        self.register_buffer("weight", torch.tensor(0.5))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the score as `(N,)` and the anomaly map as `(N, 1, h, w)`.

        `maps` are those of the first pair and then those of the second, each from fine to coarse.
        """
        one = self.first.combined(maps[: self._strides])
        two = self.second.combined(maps[self._strides :])
        map_ = one + self.weight * (two - one)
        return mean_of_highest(map_), map_

    @torch.no_grad()
    def fit(self, good: Sequence[Sequence[Tensor]], defective: Sequence[Sequence[Tensor]]) -> None:
        """Set the scales on the maps of good parts, and the weight on those of good and defective parts."""
        self.first.fit([maps[: self._strides] for maps in good])
        self.second.fit([maps[self._strides :] for maps in good])
        wins = {}
        for weight in WEIGHTS:
            self.weight.fill_(weight)
            wins[weight] = _wins(*(torch.cat([self(maps)[0] for maps in parts]) for parts in (good, defective)))
        gains = {weight: _sure_gain(found - wins[0.0]) for weight, found in wins.items()}
        self.weight.fill_(max(WEIGHTS, key=gains.__getitem__))


def _wins(good: Tensor, defective: Tensor) -> Tensor:
    """Return for each defective part and each good one whether it has the higher score, `(M, N)`; a tie is 1/2.

    The mean is the AUROC.
    """
    return ((defective[:, None] > good).double() + (defective[:, None] >= good).double()) / 2


def _sure_gain(gained: Tensor) -> float:
    """Return the gain in AUROC less `ERRORS` standard errors, from the differences of two tables of wins.

    The standard error is that of DeLong et al. (Biometrics 44, 1988), for scores of the same parts.
    """
    error = sum(gained.mean(axis).var(correction=0) / gained.shape[1 - axis] for axis in (0, 1))
    return float(gained.mean() - ERRORS * torch.as_tensor(error).sqrt())
