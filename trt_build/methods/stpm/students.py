"""Defines the first student, which computes its teacher's features at three strides from pictures.

`Student` is a small network. `Twin` is a copy of the teacher with random weights, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from trt_build.backbones.open import BackboneError, build_backbone
from trt_build.methods.stpm.blocks import Block, convolution


class Student(nn.Module):
    """A small student. Takes pictures `(N, 3, H, W)` uint8, and gives features `(N, C, H/s, W/s)`.

    `widths` and `blocks` are its channels and residual blocks at the strides s = 4, 8 and 16. `channels` are
    those of the teacher.
    """

    def __init__(
        self, stem: int, widths: Sequence[int], blocks: Sequence[int], channels: Sequence[int]
    ) -> None:
        super().__init__()
        self.stem = convolution(3, stem, 3, stride=2)
        self.levels = nn.ModuleList(
            nn.Sequential(convolution(before, width, 3, stride=2), *(Block(width) for _ in range(count)))
            for (before, width), count in zip(pairwise((stem, *widths)), blocks, strict=True)
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(width, channel, 1) for width, channel in zip(widths, channels, strict=True)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image.to(torch.float32) / 127.5 - 1.0)
        expected = []
        for level, head in zip(self.levels, self.heads, strict=True):
            x = level(x)
            expected.append(head(x))
        return expected


class Twin(nn.Module):
    """A student with the teacher's layers and random weights (He et al., arXiv 1502.01852).

    Takes pictures and gives features as `Student` does. Raise BackboneError if the teacher has no batch norms,
    because such a copy does not learn from random weights.
    """

    def __init__(self, teacher: str) -> None:
        super().__init__()
        self.copy = build_backbone(teacher)
        if not any(isinstance(layer, nn.BatchNorm2d) for layer in self.copy.modules()):
            raise BackboneError(
                f"--as-published: {teacher} has its batch norms folded into its weights, so a copy with random "
                "weights does not learn: take a ResNet or an EfficientNet as --backbone"
            )
        self.copy.requires_grad_(True)
        for layer in self.copy.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> list[Tensor]:
        return list(self.copy(image))

    def train(self, mode: bool = True) -> Twin:
        """Train the batch norms as well, which a backbone by itself never does."""
        super().train(mode)
        self.copy.network.train(mode)
        return self
