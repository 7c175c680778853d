"""Scales features and combines error maps as the papers on feature mapping do (PFM, PEFM)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trt_build.methods.good_parts.distance import unit_length


class UnitLength(nn.Module):
    """Scales the features of each cell to a length of one."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features, `(N, C, h, w)`, with a Euclidean norm of one over the channels, as float32."""
        return unit_length(features)


def squared_length(seen: Tensor, expected: Tensor) -> Tensor:
    """Return the squared length of the difference at each cell, as `(N, 1, h, w)` float32.

    Both inputs are `(N, C, h, w)`.
    """
    return (seen.float() - expected.float()).square().sum(1, keepdim=True)


class MeanMap(nn.Module):
    """Combines error maps of several resolutions into one anomaly map, their mean, and a score, its maximum.

    All maps are resized to the size of the picture. `width` is the width of a picture, in pixels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self._width = width

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the score as `(N,)` and the anomaly map as `(N, 1, H, W)`. Each map is `(N, 1, H/s, W/s)`."""
        resized = [
            F.interpolate(map_, scale_factor=self._width / map_.shape[3], mode="bilinear") for map_ in maps
        ]
        map_ = torch.cat(resized, dim=1).mean(1, keepdim=True)
        return map_.flatten(1).amax(1), map_
