"""Defines ResNets (He et al., arXiv 1512.03385) and wide ResNets (Zagoruyko, Komodakis, arXiv 1605.07146).

The tensors have the same names as in torchvision's files of weights.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ResNet(nn.Module):
    """A classifier of images into 1,000 classes, with four stages at strides 4, 8, 16 and 32.

    Images are `(N, 3, H, W)` float and normalised. `depths[i]` is the number of blocks in stage i. `width` is
    the number of channels in the middle of a bottleneck block in the first stage; None builds blocks of two 3x3
    convolutions instead. In a bottleneck block, the 3x3 convolution has the stride, as in torchvision.
    """

    def __init__(self, depths: tuple[int, int, int, int], width: int | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        for stage, depth in enumerate(depths):
            planes = 64 << stage
            after = planes if width is None else 4 * planes
            middle = planes if width is None else width << stage
            blocks = nn.Sequential()
            for i in range(depth):
                stride = 2 if stage and not i else 1
                blocks.append(_Block(before, middle, after, stride, bottleneck=width is not None))
                before = after
            self.add_module(f"layer{stage + 1}", blocks)
        self.fc = nn.Linear(before, 1000)
        self.channels = tuple((64 if width is None else 256) << stage for stage in range(4))

    def stage(self, index: int, x: Tensor) -> Tensor:
        """Return the features of stage `index` as `(N, C, h, w)`.

        `x` holds the features of the stage before or, for stage 0, the images.
        """
        if index == 0:
            x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        features: Tensor = self.get_submodule(f"layer{index + 1}")(x)
        return features

    def classify(self, x: Tensor) -> Tensor:
        """Return logits, one for each class, as `(N, 1000)`. `x` holds the features of the last stage."""
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


class _Block(nn.Module):
    def __init__(self, before: int, middle: int, after: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        if bottleneck:
            shapes = [(before, middle, 1, 1), (middle, middle, 3, stride), (middle, after, 1, 1)]
        else:
            shapes = [(before, middle, 3, stride), (middle, after, 3, 1)]
        self._count = len(shapes)
        for i, (inputs, outputs, size, step) in enumerate(shapes, start=1):
            conv = nn.Conv2d(inputs, outputs, size, stride=step, padding=size // 2, bias=False)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(outputs))
        self.downsample = None
        if stride > 1 or before != after:
            shortcut = nn.Conv2d(before, after, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self._count + 1):
            y = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(y))
            if i < self._count:
                y = F.relu(y)
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))
