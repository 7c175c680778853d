"""Comparator: finds defects on a picture of a board by comparing it with the picture of its master.

A Siamese encoder applies the same weights to both pictures. At every level the decoder gets the difference of
both. The layer-by-layer comparison is that of US 10,937,141 B2 (Sualab); the absolute difference is
FC-Siam-diff (Daudt et al., arXiv 1810.08462). For each cell of 4x4 pixels the head gives the kind of defect on
it and the distances to the defect's four sides (FCOS, Tian et al., arXiv 1904.01355), so that neighbouring
defects stay apart.

A master's features can be kept: `encode` the master once, then `compare` each board with its features.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

#: Input pixels for each cell of the two outputs, along each axis.
STRIDE = 4
#: Both sides of a picture must be a multiple of this, in pixels.
COARSEST = 32


@dataclass(frozen=True, kw_only=True)
class ComparatorConfig:
    """The shape of the network; the checkpoint holds it with the weights."""

    kinds: tuple[str, ...]
    stem: int = 16
    widths: tuple[int, ...] = (24, 48, 64, 96)  # channels at strides 4, 8, 16 and 32
    blocks: tuple[int, ...] = (0, 1, 2, 1)  # residual blocks at the same strides
    in_channels: int = 1


class Comparator(nn.Module):
    """Takes pictures `(N, C, H, W)` uint8, sides a multiple of 32, and scales them itself."""

    def __init__(self, config: ComparatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = _conv(config.in_channels, config.stem, 3, stride=2)
        self.levels = nn.ModuleList(
            nn.Sequential(_conv(before, width, 3, stride=2), *(_Block(width) for _ in range(count)))
            for before, width, count in zip((config.stem, *widths[:-1]), widths, config.blocks, strict=True)
        )
        self.seen = nn.ModuleList(_project(width, width) for width in widths)
        self.differing = nn.ModuleList(_project(width, width) for width in widths)
        self.narrow = nn.ModuleList(_project(above, width) for width, above in pairwise(widths))
        self.merge = nn.ModuleList(_conv(width, width, 3) for width in widths[:-1])
        self.neck = _conv(widths[0], widths[0], 3)
        self.kind = nn.Conv2d(widths[0], len(config.kinds), 1)
        self.extent = nn.Conv2d(widths[0], 4, 1)
        # A probability of 1 % for each cell at the start, which the focal loss needs.
        _start_at(self.kind, -4.6)
        _start_at(self.extent, 1.0)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return a picture's features at strides s of 4, 8, 16 and 32: `(N, widths[i], H/s, W/s)` float32."""
        x = self.stem(image.to(self.kind.weight.dtype) / 127.5 - 1.0)
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features

    def compare(self, master: list[Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
        """Return `map` `(N, K, H/4, W/4)` in 0..1 and `extents` `(N, 4, H/4, W/4)` in pixels, both float32.

        The extents are the distances from the cell's centre to the defect's left, top, right and bottom side.
        """
        logits, extents = self.decode(master, self.encode(image))
        return logits.sigmoid(), extents

    def decode(self, master: list[Tensor], board: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return what `compare` returns, from two sets of features, but with logits for the map, as the losses
        need.
        """
        x = None
        for i in reversed(range(len(board))):
            difference = (board[i] - master[i]).abs()
            level = self.seen[i](board[i]) + self.differing[i](difference)
            if x is None:
                x = F.relu(level)
            else:
                above = F.interpolate(self.narrow[i](x), scale_factor=2.0, mode="nearest")
                x = self.merge[i](F.relu(level + above))
        x = self.neck(x)
        return self.kind(x), F.relu(self.extent(x)) * 8.0

    def forward(self, master: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return map and extents of pictures and their masters, both `(N, C, H, W)` uint8."""
        return self.compare(self.encode(master), image)


class Reference(nn.Module):
    """The graph that runs once for each master: pictures `(N, C, H, W)` uint8 into features."""

    def __init__(self, model: Comparator) -> None:
        super().__init__()
        self.model = model

    def forward(self, master: Tensor) -> tuple[Tensor, ...]:
        """Return the features of `Comparator.encode`."""
        return tuple(self.model.encode(master))


class Judge(nn.Module):
    """The graph that runs for each board: pictures `(N, C, H, W)` uint8 and features into map and extents."""

    def __init__(self, model: Comparator) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return map and extents, as `Comparator.compare`."""
        return self.model.compare(features, image)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width, 3)
        self.second = _project(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


def _start_at(layer: nn.Conv2d, value: float) -> None:
    nn.init.normal_(layer.weight, std=0.01)
    assert layer.bias is not None
    nn.init.constant_(layer.bias, value)


def _project(before: int, after: int, size: int = 1, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False), nn.BatchNorm2d(after)
    )


def _conv(before: int, after: int, size: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*_project(before, after, size, stride=stride), nn.ReLU(inplace=True))
