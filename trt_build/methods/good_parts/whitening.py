"""Features into uncorrelated ones of variance one, so that a rare direction counts as much as a common one.

The raw features of a backbone are dominated by a few directions in which good parts differ anyway. What
is wrong with a part shows mostly in the others (Rippel et al., arXiv 2005.14140), which a distance between
raw or only length-normalised features hardly notices.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_FLOOR = 0.01  # of the mean variance is added to each: what is below is rounding, not texture


class Whitening(nn.Module):
    """`(N, C, H, W)` into the same float32, by a mean and a matrix that `fit` sets; until then unchanged.

    A product of matrices and not a convolution, so that it stays in float32 where convolutions go to INT8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.matrix: Tensor
        self.register_buffer("mean", torch.zeros(channels, 1))
        self.register_buffer("matrix", torch.eye(channels))

    def forward(self, features: Tensor) -> Tensor:
        centred = features.float().flatten(2) - self.mean
        return (self.matrix @ centred).reshape(features.shape)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Set mean and matrix by features `(N, C, H, W)` of good parts."""
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
