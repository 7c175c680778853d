"""Builds an encoder and a decoder of features, which work on each cell of 16x16 pixels by itself.

X is the features of a frozen network at strides 4, 8 and 16, averaged over the cells. The code of a cell has a
few numbers. All convolutions are 1x1, so the decoder's Jacobian is block-diagonal.

The distance between X and its reconstruction is a Mahalanobis norm in each cell: a direction counts less if
good pictures differ more in it. It is relative to how far the reconstruction is from the mean picture: good
pictures differ more at bright and rough places.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trt_build.methods.good_parts.distance import Deviation, Kind, distance_of

#: Input pixels for each cell, along each axis.
CELL = 16
#: Least and greatest number of layers of a decoder.
LAYERS = (1, 8)


def in_cells(levels: Sequence[Tensor], width: int) -> Tensor:
    """Return features `(N, C, h, w)` of several strides, averaged over cells, as `(N, P, H/16, W/16)` float32.

    `width` is that of the picture in pixels. P is the sum of all C.
    """
    sides = [level.shape[-1] * CELL // width for level in levels]
    averaged = [
        F.avg_pool2d(level, side) if side > 1 else level for level, side in zip(levels, sides, strict=True)
    ]
    return torch.cat(averaged, 1)


def encoder(seen: int, *, hidden: int, code: int) -> nn.Sequential:
    """Return an encoder from `seen` features of a cell to its code, with `hidden` channels between them."""
    return nn.Sequential(nn.Conv2d(seen, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, code, 1))


def decoder(seen: int, *, hidden: int, code: int, layers: int) -> nn.Sequential:
    """Return a decoder from the code of a cell to its `seen` features, with `layers` convolutions."""
    widths = [code, *[hidden] * (layers - 1), seen]
    made = [layer for before, after in pairwise(widths) for layer in (nn.Conv2d(before, after, 1), nn.ReLU())]
    return nn.Sequential(*made[:-1])


class FeatureDistance(nn.Module):
    """Measures the squared distance between X and its reconstruction in each cell."""

    def __init__(self, kind: Kind, seen: int) -> None:
        super().__init__()
        self._kind: Kind = kind
        self.differing = Deviation(seen)

    def forward(self, seen: Tensor, again: Tensor) -> Tensor:
        """Return distances `(N, 1, h, w)` of X `(N, P, h, w)` and its reconstruction `again`, all float32."""
        error = self.differing(seen - again) / (1 + again.square().mean(1, keepdim=True))
        return distance_of(self._kind, error, seen, again)

    def fit(self, seen: Tensor, again: Tensor) -> None:
        """Fit the norm to X of good pictures and its reconstruction."""
        self.differing.fit(seen - again)
