"""Multiplies distance maps of several strides, as the papers of both pairs do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Product(nn.Module):
    """Combines distance maps of three strides into one anomaly map and a score.

    With a second pair, its map of a stride is first added to the first pair's map of that stride. The anomaly
    map is the cube root of the product over the strides, and the score is its maximum. The papers take the
    product itself; the root ranks alike, and it does not become 0 where numbers are rounded.
    """

    def __init__(self, strides: int = 3) -> None:
        super().__init__()
        self._strides = strides

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the score as `(N,)` and the anomaly map as `(N, 1, h, w)`, in the size of the first map.

        `maps` are the distances of one pair after another, `(N, 1, H/s, W/s)`, each pair's from fine to coarse.
        """
        finest = maps[0].shape[3]
        logs = []
        for stride in range(self._strides):
            total = torch.stack(list(maps[stride :: self._strides])).sum(0)
            if total.shape[3] != finest:
                total = F.interpolate(total, scale_factor=finest / total.shape[3], mode="bilinear")
            logs.append(total.log())
        map_ = torch.stack(logs).mean(0).exp()
        return map_.flatten(1).amax(1), map_
