"""Whitens features: makes them uncorrelated with a variance of one.

A few directions, in which good parts differ anyway, dominate the raw features of a backbone. Defects show
mostly in the other directions (Rippel et al., arXiv 2005.14140), which a distance between raw or
length-normalised features hardly sees.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

#: Share of the mean variance that is added to each variance; what is smaller is rounding, not texture.
_FLOOR = 0.01


class Whitening(nn.Module):
    """Multiplies features less their mean by a matrix, both of which `fit` sets; changes nothing until then.

    It is a product of matrices and not a convolution, so that INT8 leaves it in FP32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.matrix: Tensor
        self.register_buffer("mean", torch.zeros(channels, 1))
        self.register_buffer("matrix", torch.eye(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return the whitened features, float32, in the shape `(N, C, H, W)` of the given ones."""
        centred = features.float().flatten(2) - self.mean
        return (self.matrix @ centred).reshape(features.shape)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Set mean and matrix to features `(N, C, H, W)` of good parts."""
        count = 0
        total, products = torch.zeros_like(self.mean, dtype=torch.float64), self.matrix.double() * 0
        for features in batches:
            columns = features.float().transpose(0, 1).flatten(1)
            count += columns.shape[1]
            total += columns.sum(1, keepdim=True)
            products += columns @ columns.T
        mean = total / count
        values, vectors = torch.linalg.eigh(products / count - mean @ mean.T)
        self.mean.copy_(mean)
        self.matrix.copy_((vectors / (values.clamp_min(0) + _FLOOR * values.mean()).sqrt()).T)
