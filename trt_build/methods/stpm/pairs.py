"""Combines the maps of two pairs. The second pair counts only if it helps to find defects.

How much it counts is chosen on good parts that were not used in training, and on copies of them with pasted
defects (`pasted.py`). With a weight of zero, score and map are those of the first pair alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trt_build.figures.ranking import image_auroc
from trt_build.methods.good_parts.maps import MapScale, mean_of_highest

#: Weights of the second pair that are tried. One half gives the mean of both pairs.
WEIGHTS = (0.0, 0.125, 0.25, 0.5)
#: A larger weight must separate defects better by this much, in AUROC, since few parts tell them apart.
GAIN = 0.005


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
        chosen, best = 0.0, -GAIN
        for weight in WEIGHTS:
            self.weight.fill_(weight)
            scores = [torch.cat([self(maps)[0] for maps in parts]).numpy() for parts in (good, defective)]
            if (found := image_auroc(*scores)) >= best + GAIN:
                chosen, best = weight, found
        self.weight.fill_(chosen)
