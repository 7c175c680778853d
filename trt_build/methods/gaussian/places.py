"""Fits a Gaussian to the features of each place of good parts, and measures Mahalanobis distances to it.

All features are made uncorrelated first, with the covariance of all places together. Then that covariance is
the identity, and the covariance S of one place is shrunk towards it: `rho * I + (1 - rho) * S`. So few pictures
suffice. The closed form for `rho` is that of Ledoit and Wolf (Journal of Multivariate Analysis 88, 2004),
summed over all places, because the estimate for one place would be noisy.

Of each covariance only the `rank` largest eigenvalues are kept, and the others are replaced by their mean. So a
place needs `rank` rows instead of a square matrix, and few pictures are not over-fitted.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

#: Variance that is added to each channel, as a share of its own, so that INT8's rounding does not decide.
FLOOR = 0.01
#: Least share of the common covariance in each place's covariance.
LEAST = 0.01
#: Numbers in the covariances that are decomposed at once, to bound the memory.
AT_ONCE = 1 << 23


class Gaussians(nn.Module):
    """Measures how far features lie from the Gaussian of their place. Call `fit` first.

    Matrix products are used, and no convolution, because INT8 would quantise a convolution. For P places and C
    channels the numbers take `4 * (C * C + P * (C + rank * C + 1))` bytes, however many pictures there are.
    """

    def __init__(self, channels: int, places: int, rank: int) -> None:
        super().__init__()
        self.whiten: Tensor
        self.mean: Tensor
        self.inverse: Tensor
        self.directions: Tensor
        self.register_buffer("whiten", torch.eye(channels))
        self.register_buffer("mean", torch.zeros(channels, places))  # of whitened features
        self.register_buffer("inverse", torch.ones(places))  # of the variance in all but the kept directions
        self.register_buffer("directions", torch.zeros(places, rank, channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return squared Mahalanobis distances, divided by C, of `(N, C, h, w)` features as `(N, 1, h, w)`.

        Good parts give about one. A distance is the squared length as if all directions had the same variance,
        less what the directions of larger variance count too much.
        """
        count, channels, height, width = features.shape
        white = (self.whiten @ features.float().flatten(2) - self.mean).permute(2, 1, 0)
        less = (self.directions @ white).square().sum(1)
        squared = white.square().sum(1) * self.inverse[:, None] - less
        return (squared / channels).T.reshape(count, 1, height, width)

    @torch.no_grad()
    def fit(self, features: Tensor) -> float:
        """Fit a Gaussian to each place. `features` are `(N, C, h, w)` float32, of at least two good parts.

        Return `rho`, the share of the common covariance in each place's covariance.
        """
        cells = features.flatten(2)
        mean = cells.mean(0)
        self.whiten.copy_(_whitening(cells, mean))
        self.mean.copy_(self.whiten @ mean)
        noise, spread = 0.0, 0.0
        for _, white in self._apart(cells):
            covariance = _covariance(white)
            noise += _noise(white, covariance)
            spread += float((covariance - torch.eye(covariance.shape[1])).square().sum())
        share = min(max(noise / spread, LEAST), 1.0)
        for places, white in self._apart(cells):
            self._decompose(places, _covariance(white), share)
        return share

    def _apart(self, cells: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield some places, `(p,)`, and what their whitened features are off the mean, `(p, N, C)`."""
        for places in torch.split(torch.arange(cells.shape[2]), max(1, AT_ONCE // cells.shape[1] ** 2)):
            white = self.whiten @ cells[:, :, places] - self.mean[:, places]
            yield places, white.permute(2, 0, 1)

    def _decompose(self, places: Tensor, covariance: Tensor, share: float) -> None:
        """Set the directions and the common inverse variance of some places, from their covariances."""
        kept = self.directions.shape[1]
        values, vectors = torch.linalg.eigh(covariance)
        values = share + (1 - share) * values
        common = values[:, :-kept].mean(1)
        weights = (1 / common[:, None] - 1 / values[:, -kept:]).clamp_min(0)
        self.inverse[places] = 1 / common
        self.directions[places] = vectors[:, :, -kept:].mT * weights.sqrt()[:, :, None]


def _whitening(cells: Tensor, mean: Tensor) -> Tensor:
    """Return the matrix, `(C, C)`, that makes what features are off the `mean` of their place uncorrelated."""
    products = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for one in cells:
        apart = one - mean
        products += apart @ apart.T
    covariance = products / ((len(cells) - 1) * mean.shape[1])
    scale = covariance.diagonal().clamp_min(1e-12).rsqrt()
    noisy = covariance * scale * scale[:, None] + FLOOR * torch.eye(len(mean)).to(covariance)
    values, vectors = torch.linalg.eigh(noisy)
    white: Tensor = (vectors * values.rsqrt()) @ vectors.T * scale
    return white.float()


def _covariance(white: Tensor) -> Tensor:
    """Return the covariances, `(p, C, C)`, of `(p, N, C)` features that have a mean of zero."""
    return white.mT @ white / (white.shape[1] - 1)


def _noise(white: Tensor, covariance: Tensor) -> float:
    """Return how far covariances probably are from the true ones: squared distances, summed over places."""
    lengths = white.square().sum(2).square()
    along = ((white @ covariance) * white).sum(2)
    squares = lengths - 2 * along + covariance.square().sum((1, 2))[:, None]
    return float(squares.sum()) / white.shape[1] ** 2
