"""Defines EfficientNet-Lite (Tan, Le, arXiv 1905.11946): without squeeze-excite and with ReLU6.

The weights are named as in its PyTorch port. Convolutions with a stride of two pad as TensorFlow's SAME does:
for an even side, one pixel less before than after. PyTorch's own padding would shift the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from torch import Tensor, nn
from torch.nn import functional as F

STEM, HEAD, CLASSES = 32, 1280, 1000


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Blocks of the same width in one stage. Only the first block of the group has the stride."""

    width: int
    depth: int
    size: int
    stride: int
    stage: int
    expand: int = 6


_GROUPS = (
    _Group(width=16, depth=1, size=3, stride=1, stage=0, expand=1),
    _Group(width=24, depth=2, size=3, stride=2, stage=0),
    _Group(width=40, depth=2, size=5, stride=2, stage=1),
    _Group(width=80, depth=3, size=3, stride=2, stage=2),
    _Group(width=112, depth=3, size=5, stride=1, stage=2),
    _Group(width=192, depth=4, size=5, stride=2, stage=3),
    _Group(width=320, depth=1, size=3, stride=1, stage=3),
)


class EfficientNetLite(nn.Module):
    """A classifier of images into 1,000 classes, with four stages at strides 4, 8, 16 and 32.

    Images are `(N, 3, H, W)` float, from about -1 to 1. `width` scales the channels of the blocks and rounds
    them to a multiple of 8. `depth` scales the number of blocks in a group and rounds it up. The stem, the
    head, and the number of blocks in the first and the last group are not scaled.
    """

    def __init__(self, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _Convolution(3, STEM, 3, stride=2), _norm(STEM)
        self._blocks = nn.ModuleList()
        self._stages: tuple[list[int], ...] = ([], [], [], [])
        channels, before = [0, 0, 0, 0], STEM
        for group in _GROUPS:
            after = _to_eight(width * group.width)
            for i in range(group.depth if group in (_GROUPS[0], _GROUPS[-1]) else ceil(depth * group.depth)):
                self._stages[group.stage].append(len(self._blocks))
                stride = group.stride if i == 0 else 1
                self._blocks.append(_Block(before, after, group.expand, group.size, stride))
                before = after
            channels[group.stage] = after
        self.channels = tuple(channels)
        self._conv_head, self._bn1 = _Convolution(before, HEAD, 1), _norm(HEAD)
        self._fc = nn.Linear(HEAD, CLASSES)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """Return the features of stage `index` as `(N, C, h, w)`.

        `x` holds the features of the stage before or, for stage 0, the images.
        """
        if index == 0:
            x = F.relu6(self._bn0(self._conv_stem(x)))
        for number in self._stages[index]:
            x = self._blocks[number](x)
        return x

    def classify(self, x: Tensor) -> Tensor:
        """Return logits, one for each class, as `(N, 1000)`. `x` holds the features of the last stage."""
        x = F.relu6(self._bn1(self._conv_head(x)))
        logits: Tensor = self._fc(x.mean((2, 3)))
        return logits


class _Block(nn.Module):
    """Widens the features, convolves each channel, and narrows them. Adds the input if shapes agree."""

    def __init__(self, before: int, after: int, expand: int, size: int, stride: int) -> None:
        super().__init__()
        middle = before * expand
        self._widens, self._adds = expand > 1, stride == 1 and before == after
        if self._widens:
            self._expand_conv, self._bn0 = _Convolution(before, middle, 1), _norm(middle)
        self._depthwise_conv = _Convolution(middle, middle, size, stride=stride, groups=middle)
        self._bn1 = _norm(middle)
        self._project_conv, self._bn2 = _Convolution(middle, after, 1), _norm(after)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu6(self._bn0(self._expand_conv(x))) if self._widens else x
        wide = F.relu6(self._bn1(self._depthwise_conv(wide)))
        y: Tensor = self._bn2(self._project_conv(wide))
        return x + y if self._adds else y


class _Convolution(nn.Conv2d):
    """A convolution without a bias that pads its input as TensorFlow's SAME does."""

    def __init__(self, before: int, after: int, size: int, *, stride: int = 1, groups: int = 1) -> None:
        padding = size // 2 if stride == 1 else 0
        super().__init__(before, after, size, stride=stride, padding=padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:
            (top, bottom), (left, right) = (_same(side, self.kernel_size[0]) for side in x.shape[2:])
            x = F.pad(x, (left, right, top, bottom))
        return super().forward(x)


def _same(side: int, size: int) -> tuple[int, int]:
    """Return how many pixels to pad before and after a side, for a kernel of `size` and a stride of two."""
    both = size - 2 + side % 2
    return both // 2, both - both // 2


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _to_eight(width: float) -> int:
    """Return the multiple of 8 nearest to `width`. If that is below 90 % of `width`, return the next one."""
    nearest = int(width + 4) // 8 * 8
    return nearest if nearest >= 0.9 * width else nearest + 8
