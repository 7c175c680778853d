"""Measures how far features are from the expected features, compared with what is usual for good parts."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: How two features are compared.
Kind = Literal["mse", "ssim", "both"]

#: Variance that is added to each channel, as a share of its own, so that INT8's rounding does not decide.
FLOOR = 0.01
#: Range of numbers with a standard deviation of one, for the two constants of SSIM.
RANGE = 6.0


class Deviation(nn.Module):
    """Measures how long difference vectors are, as the Mahalanobis norm: usual differences count less.

    Until `fit` is called, the norm is the Euclidean norm.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.whiten: Tensor
        self.register_buffer("whiten", torch.eye(channels))

    def forward(self, differences: Tensor) -> Tensor:
        """Return the squared norm, divided by C, of `(N, C, h, w)` differences at each cell as `(N, 1, h, w)`.

        Good pictures give about one. A matrix product is used because INT8 would quantise a convolution.
        """
        white = self.whiten @ differences.flatten(2)
        count, _, height, width = differences.shape
        return white.square().mean(1).reshape(count, 1, height, width)

    @torch.no_grad()
    def fit(self, differences: Tensor) -> None:
        """Fit the norm to the differences that good pictures have. `differences` is `(N, C, h, w)` float32."""
        lines = differences.transpose(0, 1).flatten(1).double()
        scale = lines.square().mean(1).clamp_min(1e-12).rsqrt()
        lines = lines * scale[:, None]
        noisy = lines @ lines.T / lines.shape[1] + FLOOR * torch.eye(len(lines)).to(lines)
        values, vectors = torch.linalg.eigh(noisy)
        self.whiten.copy_((vectors * values.rsqrt()) @ vectors.T * scale)


def relative_distance(seen: Tensor, expected: Tensor, *, least: float = 1.0) -> Tensor:
    """Return how far features are from the expected ones at each cell, as `(N, 1, h, w)` float32.

    Both inputs are `(N, C, h, w)` with a mean of zero. The squared distance is divided by `least` plus the mean
    square of the expected features, because good parts, too, differ more at bright and rough places.
    """
    seen, expected = seen.float(), expected.float()
    distance = (seen - expected).square().mean(1, keepdim=True)
    return distance / (least + expected.square().mean(1, keepdim=True))


def unit_length(features: Tensor) -> Tensor:
    """Return features `(N, C, h, w)` with a Euclidean norm of one over the channels, as float32.

    `torch.nn.functional.normalize` is not used because its ONNX graph reckons with shapes at run time.
    """
    features = features.float()
    return features * features.square().sum(1, keepdim=True).clamp_min(1e-24).rsqrt()


def ssim_distance(planes: Tensor, others: Tensor) -> Tensor:
    """Return one minus the structural similarity (SSIM) at each cell, as `(N, 1, h, w)` float32.

    Both inputs are `(N, C, h, w)` with a standard deviation of about one. The SSIM is computed in windows of
    7x7 cells and averaged over the channels. Source: Wang et al., IEEE TIP 13, 2004.
    """
    first, second = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    mean, other = _blurred(planes), _blurred(others)
    spread = _blurred(planes.square()) - mean.square() + _blurred(others.square()) - other.square()
    shared = _blurred(planes * others) - mean * other
    alike = (2 * mean * other + first) * (2 * shared + second)
    return 1 - (alike / ((mean.square() + other.square() + first) * (spread + second))).mean(1, keepdim=True)


def distance_of(kind: Kind, error: Tensor, seen: Tensor, expected: Tensor) -> Tensor:
    """Return `error`, the unlikeness (one minus SSIM) of `seen` and `expected`, or the mean of both.

    `error` is a squared error that can be broadcast to the `(N, 1, h, w)` of the unlikeness.
    """
    if kind == "mse":
        return error
    unlikeness = ssim_distance(seen, expected)
    return unlikeness if kind == "ssim" else (error + unlikeness) / 2


def _blurred(planes: Tensor) -> Tensor:
    """Return the mean of the 7x7 window around each cell, in the shape `(N, C, h, w)` of `planes`."""
    return F.avg_pool2d(planes, 7, 1, 3, count_include_pad=False)
