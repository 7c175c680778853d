"""EfficientNet-Lite (Tan, Le, arXiv 1905.11946, without squeeze-and-excitation, with ReLU6), its port's keys.

A stride of two pads as TensorFlow's SAME does: for an even side one less before than after.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 1000
STEM, HEAD = 32, 1280  # channels; Lite does not scale them
EPSILON = 1e-3


class _Group(NamedTuple):
    """Blocks of one kind; the first has the stride."""

    blocks: int
    size: int
    stride: int
    expand: int
    channels: int
    stage: int  # to whose features it belongs


_GROUPS = (
    _Group(1, 3, 1, 1, 16, 0),
    _Group(2, 3, 2, 6, 24, 0),
    _Group(2, 5, 2, 6, 40, 1),
    _Group(3, 3, 2, 6, 80, 2),
    _Group(3, 5, 1, 6, 112, 2),
    _Group(4, 5, 2, 6, 192, 3),
    _Group(1, 3, 1, 6, 320, 3),
)


class EfficientNetLite(nn.Module):
    """Images `(N, 3, H, W)` float in -1..1, sides a multiple of 32; four stages of strides 4, 8, 16 and 32.

    `width` and `depth` multiply channels and blocks: 1 and 1 for Lite0, 1 and 1.1 for Lite1, 1.1 and 1.2 for
    Lite2.
    """

    def __init__(self, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, STEM, 3, stride=2, bias=False)
        self._bn0 = nn.BatchNorm2d(STEM, eps=EPSILON)
        self._blocks = nn.ModuleList()
        before, counts, channels = STEM, [0] * 4, [0] * 4
        for number, group in enumerate(_GROUPS):
            fixed = number in (
                0,
                len(_GROUPS) - 1,
            )  # Lite scales neither the first group's depth nor the last's
            after = _in_eights(width * group.channels)
            count = group.blocks if fixed else math.ceil(depth * group.blocks)
            for i in range(count):
                self._blocks.append(_Block(before, after, group.size, 1 if i else group.stride, group.expand))
                before = after
            counts[group.stage] += count
            channels[group.stage] = after
        self._ends = tuple(accumulate(counts))
        self.channels = tuple(channels)
        self._conv_head = nn.Conv2d(before, HEAD, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(HEAD, eps=EPSILON)
        self._fc = nn.Linear(HEAD, CLASSES)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """Features of stage `index` from those of the one before, or from images for stage 0."""
        if index == 0:
            x = F.relu6(self._bn0(self._conv_stem(_padded(x, 3))))
        start = self._ends[index - 1] if index else 0
        for block in self._blocks[start : self._ends[index]]:
            x = block(x)
        return x

    def classify(self, x: Tensor) -> Tensor:
        """Logits `(N, 1000)` from the last stage."""
        logits: Tensor = self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))
        return logits


class _Block(nn.Module):
    """A mobile inverted bottleneck: widen, mix places, narrow; added to its input where that has its shape."""

    def __init__(self, before: int, after: int, size: int, stride: int, expand: int) -> None:
        super().__init__()
        middle = expand * before
        if expand > 1:
            self._expand_conv = nn.Conv2d(before, middle, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(middle, eps=EPSILON)
        self._depthwise_conv = nn.Conv2d(
            middle,
            middle,
            size,
            stride=stride,
            padding=size // 2 if stride == 1 else 0,
            groups=middle,
            bias=False,
        )
        self._bn1 = nn.BatchNorm2d(middle, eps=EPSILON)
        self._project_conv = nn.Conv2d(middle, after, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(after, eps=EPSILON)
        self._expands, self._adds = expand > 1, stride == 1 and before == after
        self._size, self._stride = size, stride

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = _padded(y, self._size) if self._stride == 2 else y
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        narrow: Tensor = self._bn2(self._project_conv(y))
        return x + narrow if self._adds else narrow


def _padded(x: Tensor, size: int) -> Tensor:
    """With the rims that a convolution of this size and a stride of two needs; sides are even."""
    before, after = (size - 2) // 2, (size - 1) // 2
    return F.pad(x, (before, after, before, after))


def _in_eights(channels: float) -> int:
    """The nearest multiple of eight, but no less than nine tenths of what was asked for."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8
