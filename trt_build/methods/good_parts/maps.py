"""Distance maps of several levels into one anomaly map and a score, each on the scale of normal pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOW, HIGH = 0.9, 0.995  # quantiles of a map's cells on normal pictures
HEIGHT = 0.1  # of the scaled map at HIGH; at LOW it is 0


class MapScale(nn.Module):
    """Maps `(N, 1, h, w)`, finest first, float32, into `(score (N,), map (N, 1, h, w))` of the finest's size.

    Every map is resized over the finest and smoothed, and then scaled so that 90 % of the cells of normal
    pictures are below 0 and 99.5 % below 0.1 (EfficientAD, Batzner et al., arXiv 2303.14535). Where the tail
    of a map falls off exponentially its scaled value is the logarithm of its chance, so the mean of the maps is
    Fisher's way to combine tests. The score is the mean of the highest `top` part of the cells.

    `fit` sets the scale; until then a map stays as it is. Nothing here is a convolution, so that nothing
    is rounded where the rest of a graph is brought to INT8: the differences that count are small.
    """

    def __init__(self, count: int, *, smoothings: int = 2, top: float = 0.01) -> None:
        super().__init__()
        self._smoothings, self._top = smoothings, top
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", torch.zeros(count))
        self.register_buffer("high", torch.full((count,), HEIGHT))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        resized = self._resized(maps)
        slope = HEIGHT / (self.high - self.low)
        map_ = ((resized - self.low.reshape(1, -1, 1, 1)) * slope.reshape(1, -1, 1, 1)).mean(1, keepdim=True)
        cells = map_.flatten(1)
        highest = cells.topk(max(1, round(self._top * cells.shape[1])), dim=1).values
        return highest.mean(1), map_

    @torch.no_grad()
    def fit(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """Set the scale by the maps of normal pictures that nothing was trained with."""
        cells = torch.cat([self._resized(maps).transpose(0, 1).flatten(1) for maps in batches], dim=1)
        cells = cells.sort(1).values
        last = cells.shape[1] - 1
        low, high = cells[:, round(LOW * last)], cells[:, round(HIGH * last)]
        self.low.copy_(low)
        self.high.copy_(torch.maximum(high, low + 1e-12 + low.abs() * 1e-6))  # a constant map has no scale

    def _resized(self, maps: Sequence[Tensor]) -> Tensor:
        """`(N, K, h, w)`: all maps over the finest, smoothed by means of 3x3 cells."""
        cells = [map_.shape[3] for map_ in maps]  # of each the finest has a whole multiple
        resized = torch.cat(
            [
                map_ if of == cells[0] else F.interpolate(map_, scale_factor=cells[0] / of, mode="bilinear")
                for of, map_ in zip(cells, maps, strict=True)
            ],
            dim=1,
        )
        for _ in range(self._smoothings):
            resized = F.avg_pool2d(resized, 3, stride=1, padding=1, count_include_pad=False)
        return resized
