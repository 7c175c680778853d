"""Defines the layers of which both students are built."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """A residual block of two 3x3 convolutions that keeps the shape, `(N, width, h, w)`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution(width, width, 3)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


def convolution(before: int, after: int, size: int, *, stride: int = 1) -> nn.Sequential:
    """Return a convolution with a batch norm and a ReLU. Without a stride, it keeps height and width."""
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def deconvolution(before: int, after: int) -> nn.Sequential:
    """Return a transposed convolution that doubles height and width, with a batch norm and a ReLU."""
    return nn.Sequential(
        nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
