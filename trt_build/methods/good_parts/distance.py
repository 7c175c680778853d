"""Distances between features and what is expected of them, relative to what is usual for good parts."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: How two features are compared.
Kind = Literal["mse", "ssim", "both"]

#: Noise that is added, as a share of a channel's variance, so that INT8's rounding does not decide.
FLOOR = 0.01
#: Range of numbers with a standard deviation of one, for the two constants of SSIM.
RANGE = 6.0


class Deviation(nn.Module):
    """The Mahalanobis norm over the channels of differences; the Euclidean norm until `fit` is called."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.whiten: Tensor
        self.register_buffer("whiten", torch.eye(channels))

    def forward(self, differences: Tensor) -> Tensor:
        """Return the squared norm at each cell, `(N, 1, h, w)`, of `(N, C, h, w)`; about one for good pictures.

        It is a product of matrices and not a convolution, so that INT8 leaves it in FP32.
        """
        white = self.whiten @ differences.flatten(2)
        count, _, height, width = differences.shape
        return white.square().mean(1).reshape(count, 1, height, width)

    @torch.no_grad()
    def fit(self, differences: Tensor) -> None:
        """Fit the norm to the differences `(N, C, h, w)` float32 of good pictures."""
        lines = differences.transpose(0, 1).flatten(1).double()
        scale = lines.square().mean(1).clamp_min(1e-12).rsqrt()
        lines = lines * scale[:, None]
        noisy = lines @ lines.T / lines.shape[1] + FLOOR * torch.eye(len(lines)).to(lines)
        values, vectors = torch.linalg.eigh(noisy)
        self.whiten.copy_((vectors * values.rsqrt()) @ vectors.T * scale)


def relative_distance(seen: Tensor, expected: Tensor) -> Tensor:
    """Return the relative squared distance at each cell, `(N, 1, h, w)` float32, of whitened `(N, C, h, w)`.

    It is divided by one plus the expected features' squared distance from their mean, zero, because bright and
    rough places of good parts differ more too.
    """
    seen, expected = seen.float(), expected.float()
    distance = (seen - expected).square().mean(1, keepdim=True)
    return distance / (1 + expected.square().mean(1, keepdim=True))


def ssim_distance(planes: Tensor, others: Tensor) -> Tensor:
    """Return one minus the mean SSIM over the channels at each cell, `(N, 1, h, w)` float32.

    Both are `(N, C, h, w)` with a standard deviation of about one; windows are 7x7. Wang et al., IEEE TIP 13,
    2004.
    """
    first, second = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    mean, other = _blurred(planes), _blurred(others)
    spread = _blurred(planes.square()) - mean.square() + _blurred(others.square()) - other.square()
    shared = _blurred(planes * others) - mean * other
    alike = (2 * mean * other + first) * (2 * shared + second)
    return 1 - (alike / ((mean.square() + other.square() + first) * (spread + second))).mean(1, keepdim=True)


def distance_of(kind: Kind, error: Tensor, unlikeness: Tensor) -> Tensor:
    """Return the squared error, one minus SSIM, or the mean of both, in the shape that they have."""
    return {"mse": error, "ssim": unlikeness, "both": (error + unlikeness) / 2}[kind]


def _blurred(planes: Tensor) -> Tensor:
    """Return the means of windows of 7x7, in the shape `(N, C, h, w)` of the planes."""
    return F.avg_pool2d(planes, 7, 1, 3, count_include_pad=False)
