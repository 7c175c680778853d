"""Whitens features: subtracts their mean, makes them uncorrelated, and gives each a variance of one.

Raw features of a backbone vary most in a few directions, in which good parts differ too. Defects show mostly in
the other directions (Rippel et al., arXiv 2005.14140). Without whitening, a distance between features would
hardly change at a defect.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

#: Share of the mean variance that is added to each variance. Smaller variances come from rounding.
_FLOOR = 0.01


class Whitening(nn.Module):
    """Makes features uncorrelated: subtracts a mean and multiplies by a matrix. `fit` sets both.

    Until `fit` is called, features stay unchanged. A convolution is not used because INT8 would quantise it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.matrix: Tensor
        self.register_buffer("mean", torch.zeros(channels, 1))
        self.register_buffer("matrix", torch.eye(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return the features, made uncorrelated with a variance of one, as `(N, C, H, W)` float32."""
        centred = features.float().flatten(2) - self.mean
        return (self.matrix @ centred).reshape(features.shape)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Compute the mean and the matrix from features of good parts. Each batch is `(N, C, H, W)`."""
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
