"""How far numbers lie from what is expected of them, measured by how far those of good pictures do."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["mse", "ssim", "both"]  # of a distance between planes

FLOOR = 0.01  # of a channel's variance, taken as noise on top: what rounding to INT8 does must not decide
RANGE = 6.0  # of numbers with a deviation of one, for SSIM's two constants


class Deviation(nn.Module):
    """Mahalanobis' norm over the channels of differences `(N, C, h, w)`; Euclid's until `fit` is called."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.whiten: Tensor
        self.register_buffer("whiten", torch.eye(channels))

    def forward(self, differences: Tensor) -> Tensor:
        """The norm's square at each place, `(N, 1, h, w)`, about one for good pictures.

        A product of matrices and no convolution, so that rounding to INT8 leaves it alone.
        """
        white = self.whiten @ differences.flatten(2)
        count, _, height, width = differences.shape
        return white.square().mean(1).reshape(count, 1, height, width)

    @torch.no_grad()
    def fit(self, differences: Tensor) -> None:
        """Take the differences `(N, C, h, w)` of good pictures as what is to be expected."""
        lines = differences.transpose(0, 1).flatten(1).double()
        scale = lines.square().mean(1).clamp_min(1e-12).rsqrt()
        lines = lines * scale[:, None]
        noisy = lines @ lines.T / lines.shape[1] + FLOOR * torch.eye(len(lines)).to(lines)
        values, vectors = torch.linalg.eigh(noisy)
        self.whiten.copy_((vectors * values.rsqrt()) @ vectors.T * scale)


def relative_distance(seen: Tensor, expected: Tensor) -> Tensor:
    """How far `(N, C, h, w)` lie from what is expected, squared, at each place: `(N, 1, h, w)`, float32.

    It is relative to how far the expected numbers lie from the mean, which is zero with a variance of one:
    bright and rough places differ more, of good parts too.
    """
    seen, expected = seen.float(), expected.float()
    distance = (seen - expected).square().mean(1, keepdim=True)
    return distance / (1 + expected.square().mean(1, keepdim=True))


def ssim_distance(planes: Tensor, others: Tensor) -> Tensor:
    """One minus the mean SSIM over the channels at each place, `(N, 1, h, w)`.

    Of planes `(N, C, h, w)` with a deviation of about one, windows of 7x7. Wang et al., IEEE TIP 13, 2004.
    """
    first, second = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    mean, other = _blurred(planes), _blurred(others)
    spread = _blurred(planes.square()) - mean.square() + _blurred(others.square()) - other.square()
    shared = _blurred(planes * others) - mean * other
    alike = (2 * mean * other + first) * (2 * shared + second)
    return 1 - (alike / ((mean.square() + other.square() + first) * (spread + second))).mean(1, keepdim=True)


def distance_of(kind: Kind, error: Tensor, unlikeness: Tensor) -> Tensor:
    """A squared error, one minus SSIM, or half of each."""
    return {"mse": error, "ssim": unlikeness, "both": (error + unlikeness) / 2}[kind]


def _blurred(planes: Tensor) -> Tensor:
    return F.avg_pool2d(planes, 7, 1, 3, count_include_pad=False)
