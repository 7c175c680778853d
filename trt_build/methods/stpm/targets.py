"""Says what a student learns of a teacher's features, and how far the student's features are from that.

`Whitened` features are uncorrelated and have a variance of one in each direction. `UnitVectors` keep the
direction of a cell's features and drop their length, as the papers of both pairs do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from trt_build.methods.good_parts.distance import relative_distance, unit_length
from trt_build.methods.good_parts.whitening import Whitening

#: With this constant in the divisor the map shows painted defects best, and the score is as good as with one.
LEAST = 2.0


class Target(Protocol):
    """What a student learns at one stride. Features are `(N, C, h, w)`."""

    def __call__(self, features: Tensor) -> Tensor:
        """Return what the student learns of a teacher's features, `(N, C, h, w)` float32."""

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Learn from a teacher's features of good parts what is usual."""

    def loss(self, seen: Tensor, expected: Tensor) -> Tensor:
        """Return how far a student is from what it learns, as a scalar."""

    def distance(self, seen: Tensor, expected: Tensor) -> Tensor:
        """Return how far a student is from what was seen at each cell, as `(N, 1, h, w)` float32."""


class Whitened(nn.Module):
    """Compares whitened features by their squared distance. Implements `Target`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.whitening = Whitening(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return the whitened features."""
        white: Tensor = self.whitening(features)
        return white

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Learn the mean and the correlations of good parts' features."""
        self.whitening.fit(batches)

    def loss(self, seen: Tensor, expected: Tensor) -> Tensor:
        """Return the mean squared error."""
        return F.mse_loss(expected.float(), seen)

    def distance(self, seen: Tensor, expected: Tensor) -> Tensor:
        """Return the squared distance, divided by LEAST plus the mean square of what the student expects."""
        return relative_distance(seen, expected, least=LEAST)


class UnitVectors(nn.Module):
    """Compares the directions of features by the cosine between them. Implements `Target`."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the features of each cell, divided by their length."""
        return unit_length(features)

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Learn nothing: a direction needs no scale."""

    def loss(self, seen: Tensor, expected: Tensor) -> Tensor:
        """Return the mean over all cells of the squared distance between unit vectors."""
        return 2 * self.distance(seen, expected).mean()

    def distance(self, seen: Tensor, expected: Tensor) -> Tensor:
        """Return half the squared distance between unit vectors, which is one minus their cosine.

        It is computed from differences, because one minus a cosine near one loses its digits.
        """
        return (seen.float() - unit_length(expected)).square().sum(1, keepdim=True) / 2
