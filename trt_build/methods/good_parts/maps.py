"""Combines the distance maps of several levels into one anomaly map and a score, scaled by good parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Quantiles of a map's cells on good parts.
LOW, HIGH = 0.9, 0.995
#: Value of the scaled map at the quantile HIGH; at LOW it is 0.
HEIGHT = 0.1


class MapScale(nn.Module):
    """Takes maps `(N, 1, h, w)` float32, finest first; gives `(score (N,), map (N, 1, h, w))`.

    Every map is resized to the finest, smoothed, and scaled so that 90 % of the cells of good parts are below 0
    and 99.5 % below 0.1 (EfficientAD, Batzner et al., arXiv 2303.14535). If the tail of a map is exponential,
    its scaled value is the logarithm of its probability; the mean of the maps then combines tests as Fisher's
    method does. The score is the mean of the share `top` of the cells that is highest.

    `fit` sets the scale; until then a map stays unchanged. Nothing here is a convolution, so that INT8 leaves
    it in FP32: the differences that count are small.
    """

    def __init__(self, count: int, *, smoothings: int = 2, top: float = 0.01) -> None:
        super().__init__()
        self._smoothings, self._top = smoothings, top
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", torch.zeros(count))
        self.register_buffer("high", torch.full((count,), HEIGHT))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the score `(N,)` and the anomaly map `(N, 1, h, w)`, float32."""
        resized = self._resized(maps)
        slope = HEIGHT / (self.high - self.low)
        map_ = ((resized - self.low.reshape(1, -1, 1, 1)) * slope.reshape(1, -1, 1, 1)).mean(1, keepdim=True)
        cells = map_.flatten(1)
        highest = cells.topk(max(1, round(self._top * cells.shape[1])), dim=1).values
        return highest.mean(1), map_

    @torch.no_grad()
    def fit(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """Set the scale on maps `(N, 1, h, w)` of good parts that were not trained with."""
        cells = torch.cat([self._resized(maps).transpose(0, 1).flatten(1) for maps in batches], dim=1)
        cells = cells.sort(1).values
        last = cells.shape[1] - 1
        low, high = cells[:, round(LOW * last)], cells[:, round(HIGH * last)]
        self.low.copy_(low)
        # A constant map has no scale, so `high` must stay above `low`.
        self.high.copy_(torch.maximum(high, low + 1e-12 + low.abs() * 1e-6))

    def _resized(self, maps: Sequence[Tensor]) -> Tensor:
        """Return all K maps `(N, K, h, w)` at the finest size, smoothed by means of 3x3 cells."""
        # The finest width is a multiple of each other width.
        cells = [map_.shape[3] for map_ in maps]
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
