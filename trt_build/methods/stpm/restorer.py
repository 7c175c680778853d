"""Defines the second student, which computes a teacher's features from another teacher's deepest features.

The deepest features are too coarse to show a small defect, so the second student computes what a good part has
there (Yamada & Hotta, arXiv 2111.15376). At two strides it also gets an attention map of its own teacher's
features: one number a cell, which cannot carry a defect's features.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from trt_build.methods.stpm.blocks import Block, convolution, deconvolution

#: Channels from which an attention map is computed.
GATE = 32


class Restorer(nn.Module):
    """A decoder from stride 32 to the strides 16, 8 and 4.

    `deepest` is the number of channels of the first teacher's deepest features, `channels` are the second
    teacher's, and `widths` the decoder's own, each from stride 4 to stride 16. As published, it doubles the
    resolution by transposed convolutions and has two residual blocks a stride. Otherwise it repeats each cell
    and has one block, which is faster.
    """

    def __init__(
        self, deepest: int, widths: Sequence[int], channels: Sequence[int], *, as_published: bool
    ) -> None:
        super().__init__()
        last, blocks = widths[-1], 2 if as_published else 1
        self.stem = convolution(deepest, last, 3)
        if as_published:
            self.stem.append(Block(last))
        self.ups = nn.ModuleList(
            _up(before, width, as_published=as_published) for width, before in pairwise((*widths, last))
        )
        self.levels = nn.ModuleList(nn.Sequential(*(Block(width) for _ in range(blocks))) for width in widths)
        self.heads = nn.ModuleList(
            nn.Conv2d(width, channel, 1) for width, channel in zip(widths, channels, strict=True)
        )
        self.gates = nn.ModuleList(_gate(channel) for channel in channels[1:])

    def forward(self, deepest: Tensor, seen: Sequence[Tensor]) -> list[Tensor]:
        """Return the expected features `(N, C, H/s, W/s)` for the strides s = 4, 8 and 16.

        `seen` are the second teacher's own features at these strides, for the attention maps.
        """
        x = self.stem(deepest)
        expected: list[Tensor] = []
        for level in reversed(range(len(self.levels))):
            x = self.levels[level](self.ups[level](x))
            expected.insert(0, self.heads[level](x))
            if level:
                x = x * (1 + self.gates[level - 1](seen[level]))
        return expected


def _up(before: int, after: int, *, as_published: bool) -> nn.Module:
    """Return what doubles the resolution."""
    if as_published:
        return deconvolution(before, after)
    return nn.Sequential(convolution(before, after, 1), nn.Upsample(scale_factor=2.0, mode="nearest"))


def _gate(channels: int) -> nn.Sequential:
    """Return what computes an attention map, `(N, 1, h, w)` in 0 to 1."""
    return nn.Sequential(convolution(channels, GATE, 3), nn.Conv2d(GATE, 1, 1), nn.Sigmoid())
