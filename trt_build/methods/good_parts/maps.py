"""Combines distance maps of several resolutions into one anomaly map and one score for each picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Quantiles of a map's cells on good parts.
LOW, HIGH = 0.9, 0.995
#: Value of the scaled map at the quantile HIGH; at LOW it is 0.
HEIGHT = 0.1
#: Share of a map's cells whose mean is the score.
TOP = 0.01


class MapScale(nn.Module):
    """Combines distance maps of several resolutions into one anomaly map and a score.

    Every map is resized to the finest, smoothed, and scaled so that 90 % of the cells of good parts are below 0
    and 99.5 % are below 0.1 (EfficientAD, Batzner et al., arXiv 2303.14535). The anomaly map is the mean of the
    scaled maps. If a map's values have an exponential tail, a scaled value is the logarithm of a probability,
    so the mean combines maps as Fisher's method combines tests. The score is the mean of the highest cells of
    the anomaly map; `top` is the share of cells that are averaged.

    Values are not scaled until `fit` is called. No step is a convolution, so INT8 quantisation does not change
    the small differences that decide between good and defective.
    """

    def __init__(self, count: int, *, smoothings: int = 2, top: float = TOP) -> None:
        super().__init__()
        self._smoothings, self._top = smoothings, top
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", torch.zeros(count))
        self.register_buffer("high", torch.full((count,), HEIGHT))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the score as `(N,)` and the anomaly map as `(N, 1, h, w)`. The first map is the finest."""
        map_ = self.combined(maps)
        return mean_of_highest(map_, self._top), map_

    def combined(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the anomaly map as `(N, 1, h, w)`. The first map is the finest."""
        resized = self._resized(maps)
        slope = HEIGHT / (self.high - self.low)
        scaled = (resized - self.low.reshape(1, -1, 1, 1)) * slope.reshape(1, -1, 1, 1)
        return scaled.mean(1, keepdim=True)

    @torch.no_grad()
    def fit(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """Set the scale on maps, each `(N, 1, h, w)`, of good parts that were not used in training."""
        cells = torch.cat([self._resized(maps).transpose(0, 1).flatten(1) for maps in batches], dim=1)
        cells = cells.sort(1).values
        last = cells.shape[1] - 1
        low, high = cells[:, round(LOW * last)], cells[:, round(HIGH * last)]
        self.low.copy_(low)
        # A constant map has no scale, so `high` must stay above `low`.
        self.high.copy_(torch.maximum(high, low + 1e-12 + low.abs() * 1e-6))

    def _resized(self, maps: Sequence[Tensor]) -> Tensor:
        """Return K maps as `(N, K, h, w)`, resized to the finest and smoothed by means of 3x3 cells."""
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


def mean_of_highest(map_: Tensor, top: float = TOP) -> Tensor:
    """Return the mean of the highest cells of each map, `(N, 1, h, w)`, as `(N,)`.

    `top` is the share of cells that are averaged.
    """
    cells = map_.flatten(1)
    return cells.topk(max(1, round(top * cells.shape[1])), dim=1).values.mean(1)
