"""Defines MobileNet V1 (Howard et al., arXiv 1704.04861) and V2 (Sandler et al., arXiv 1801.04381).

Convolutions are numbered in the order in which they run. Those with a stride of two pad as TensorFlow's SAME
does: for an even side, nothing before and one pixel after. PyTorch's own padding would shift the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

#: The background, and then the classes of ImageNet.
CLASSES = 1001


@dataclass(frozen=True, kw_only=True)
class _Run:
    """The convolutions numbered `first` to `last`. If `adds`, their input is added to their output."""

    first: int
    last: int
    adds: bool = False


class MobileNet(nn.Module):
    """A classifier of images into 1,001 classes, with four stages at strides 4, 8, 16 and 32.

    Images are `(N, 3, H, W)` float in -1 to 1, with sides that are multiples of 32. `version` is 1 or 2.
    """

    def __init__(self, version: int) -> None:
        super().__init__()
        self._count, self._channels = 0, 3
        self._stages: tuple[list[_Run], ...] = ([], [], [], [])
        if version == 1:
            self._build_v1()
        else:
            self._build_v2()
        self.channels = tuple(self._layer(stage[-1].last).channels for stage in self._stages)
        for width in (1280,) if version == 2 else ():
            self._append(width, 1)
        self._head = self._count
        self._append(CLASSES, 1, acts=False)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """Return the features of stage `index` as `(N, C, h, w)`.

        `x` holds the features of the stage before or, for stage 0, the images.
        """
        for run in self._stages[index]:
            y = x
            for number in range(run.first, run.last + 1):
                y = self._layer(number)(y)
            x = x + y if run.adds else y
        return x

    def classify(self, x: Tensor) -> Tensor:
        """Return logits as `(N, 1001)`; class 0 is the background. `x` holds the features of the last stage."""
        for number in range(self._stages[3][-1].last + 1, self._head):
            x = self._layer(number)(x)
        logits: Tensor = self._layer(self._head)(x.mean((2, 3), keepdim=True)).flatten(1)
        return logits

    def _build_v1(self) -> None:
        self._append(32, 3, stride=2)
        self._stages[0].append(_Run(first=0, last=0))
        widths = (64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
        strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
        stages = (0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3)
        for width, stride, stage in zip(widths, strides, stages, strict=True):
            first = self._count
            self._append(self._channels, 3, stride=stride, depthwise=True)
            self._append(width, 1)
            self._stages[stage].append(_Run(first=first, last=self._count - 1))

    def _build_v2(self) -> None:
        self._append(32, 3, stride=2)
        self._append(32, 3, depthwise=True)
        self._append(16, 1, acts=False)
        self._stages[0].append(_Run(first=0, last=2))
        table = ((24, 2, 2, 0), (32, 3, 2, 1), (64, 4, 2, 2), (96, 3, 1, 2), (160, 3, 2, 3), (320, 1, 1, 3))
        for width, depth, stride, stage in table:
            for i in range(depth):
                first, before, step = self._count, self._channels, stride if i == 0 else 1
                self._append(6 * before, 1)
                self._append(6 * before, 3, stride=step, depthwise=True)
                self._append(width, 1, acts=False)
                adds = step == 1 and before == width
                self._stages[stage].append(_Run(first=first, last=self._count - 1, adds=adds))

    def _append(
        self, channels: int, size: int, *, stride: int = 1, depthwise: bool = False, acts: bool = True
    ) -> None:
        layer = _Layer(self._channels, channels, size, stride, depthwise, acts)
        self.add_module(f"{self._count:02}", layer)
        self._count, self._channels = self._count + 1, channels

    def _layer(self, number: int) -> _Layer:
        layer = self.get_submodule(f"{number:02}")
        assert isinstance(layer, _Layer)
        return layer


class _Layer(nn.Module):
    """A convolution and, if `acts`, a ReLU6. The convolution has the name of its weights in the file."""

    def __init__(self, before: int, channels: int, size: int, stride: int, depthwise: bool, acts: bool) -> None:
        super().__init__()
        self.channels, self._stride, self._size, self._acts = channels, stride, size, acts
        padding = size // 2 if stride == 1 else 0
        groups = before if depthwise else 1
        self._name = "depthwise_conv_2d" if depthwise else "conv_2d"
        conv = nn.Conv2d(before, channels, size, stride=stride, padding=padding, groups=groups)
        self.add_module(self._name, conv)

    def forward(self, x: Tensor) -> Tensor:
        if self._stride == 2:
            x = F.pad(x, (x.shape[3] % 2, 1, x.shape[2] % 2, 1))
        x = self.get_submodule(self._name)(x)
        return F.relu6(x) if self._acts else x
