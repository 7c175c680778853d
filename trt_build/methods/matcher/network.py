"""Defines the matcher, which turns a picture into a vector of length one.

Pictures of the same product have similar vectors. Photo and drawing go through the same network and are
compared by the cosine of their vectors. The vectors of a product's drawings can be kept. A part on the line
then costs one pass of the network and a few dot products.

There are two networks, called branches. `source` is the network of Han (2022), Table 1, unchanged: 105x105
pixels, four blocks of convolution, ReLU and batch normalisation, and one dense layer of 4096. Use `residual`:
this branch has residual blocks (He et al., arXiv 1512.03385), and its last layer keeps the position of a stroke
in the picture. Batch normalisation comes before ReLU, so that it can be folded into the convolution. For
letters it first moves the ink to the middle, and compares its coarsest features place by place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge.manifest import InputSpec
from trt_build.methods.matcher.centred import Centred

_SOURCE_KERNELS = (10, 7, 4, 4)
#: Channels of the residual branch's coarsest features.
_SQUEEZED = 64


@dataclass(frozen=True, kw_only=True)
class MatcherConfig:
    """The sizes and options that a matcher is built from. The checkpoint stores them with the weights."""

    branch: Literal["residual", "source"] = "residual"
    size: int = 105  # both sides of the input, in pixels
    in_channels: int = 1
    #: Channels at strides 2, 4, 8, ..., and the residual blocks there.
    widths: tuple[int, ...] = (16, 32, 64, 128)
    blocks: tuple[int, ...] = (0, 1, 1, 1)
    #: Side of the square into which `Centred` lays the ink, in pixels. 0 leaves the picture as it is.
    centred: int = 0
    #: The residual branch's end: a dense layer, or the coarsest features themselves, each at its place.
    head: Literal["dense", "map"] = "dense"
    embedding: int = 256  # numbers in the vector that a dense layer makes
    dropout: float = 0.0  # dropout before the dense layer
    scale: float = 10.0  # the first value of a, by which the residual branch multiplies the cosine

    @property
    def spec(self) -> InputSpec:
        """The size and the colours of the pictures that the network takes."""
        return InputSpec(height=self.size, width=self.size, color="gray" if self.in_channels == 1 else "rgb")


#: For letters and marks, whose place and size on the paper mean nothing.
LETTERS = MatcherConfig(centred=48, widths=(32, 64, 128), blocks=(0, 1, 1), head="map", scale=16.0)

#: Han (2022), Table 1.
SOURCE = MatcherConfig(branch="source", widths=(64, 128, 128, 256), blocks=(), embedding=4096)


class Matcher(nn.Module):
    """Turns pictures `(N, C, size, size)` uint8, dark strokes on light ground, into vectors to be compared."""

    def __init__(self, config: MatcherConfig) -> None:
        super().__init__()
        self.config = config
        self.branch = {"residual": _residual, "source": _source}[config.branch](config)
        # The source branch takes the cosine itself as the logit.
        learned = config.branch == "residual"
        scale = config.scale if learned else 1.0
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned)
        self.offset = nn.Parameter(torch.tensor(-5.0 if learned else 0.0), requires_grad=learned)

    def forward(self, image: Tensor) -> Tensor:
        """Return one vector of length 1 for each picture, as `(N, D)` float32."""
        # Inverted, so that the zeros of padding are blank paper.
        ink = 1.0 - image.to(self.offset.dtype) / 255.0
        vectors: Tensor = self.branch(ink).float()
        lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        return vectors / lengths.clamp_min(1e-12)

    def logit(self, cosine: Tensor) -> Tensor:
        """Return the logit of "both show the same product" for each cosine: a * cosine + b.

        a and b are learned by the residual branch, and fixed at 1 and 0 for the source branch.
        """
        return self.log_scale.exp() * cosine + self.offset


def _residual(config: MatcherConfig) -> nn.Sequential:
    centred = [Centred(config.size, config.centred)] if config.centred else []
    stages: list[nn.Module] = []
    for before, width, count in zip(
        (config.in_channels, *config.widths[:-1]), config.widths, config.blocks, strict=True
    ):
        stages += [_convolve(before, width, 3 if stages else 5, stride=2), nn.ReLU(inplace=True)]
        stages += [_Block(width) for _ in range(count)]
    side = math.ceil((config.centred or config.size) / 2 ** len(config.widths))
    squeezed = _convolve(config.widths[-1], _SQUEEZED, 1)
    if config.head == "map":
        return nn.Sequential(*centred, *stages, squeezed, _Places(side), nn.Flatten())
    dense = nn.Linear(_SQUEEZED * side**2, config.embedding)
    return nn.Sequential(*centred, *stages, squeezed, nn.Flatten(), nn.Dropout(config.dropout), dense)


def _source(config: MatcherConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    side = config.size
    for (before, width), kernel in zip(
        pairwise((config.in_channels, *config.widths)), _SOURCE_KERNELS, strict=True
    ):
        layers += [nn.Conv2d(before, width, kernel), nn.ReLU(inplace=True), nn.BatchNorm2d(width)]
        side -= kernel - 1
        # The fourth block is not pooled.
        if len(layers) < 12:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(config.widths[-1] * side**2, config.embedding))


class _Places(nn.Module):
    """Multiplies each place of a square map by a learned weight, the same for all channels."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(side, side))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolve(width, width, 3)
        self.second = _convolve(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


def _convolve(before: int, after: int, size: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False), nn.BatchNorm2d(after)
    )
