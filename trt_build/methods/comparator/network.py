"""Defines the comparator, which finds defects by comparing the pictures of a board and of its master.

An encoder turns both pictures into features with the same weights. At every level, the decoder takes the
board's features and their difference to the master's. The comparison at each level is that of US 10,937,141 B2
(Sualab); the absolute difference is FC-Siam-diff (Daudt et al., arXiv 1810.08462). For each cell of 4x4 pixels,
the network returns the probability of each kind of defect. A network that is trained with boxes also returns
the distances to the defect's four sides (FCOS, Tian et al., arXiv 1904.01355), which keep neighbouring defects
apart. A network that is trained with masks returns no distances: its map covers the pixels of each defect.

The features of a master can be kept: call `encode` once for the master, and `compare` for each board.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from edge.manifest import InputSpec

#: Input pixels for each cell of the two outputs, along each axis.
STRIDE = 4
#: Both sides of a picture must be a multiple of this, in pixels.
COARSEST = 32


@dataclass(frozen=True, kw_only=True)
class ComparatorConfig:
    """The sizes and options that a comparator is built from. The checkpoint stores them with the weights."""

    kinds: tuple[str, ...]
    stem: int = 16
    widths: tuple[int, ...] = (24, 48, 64, 96)  # channels at strides 4, 8, 16 and 32
    blocks: tuple[int, ...] = (0, 1, 2, 1)  # residual blocks at the same strides
    in_channels: int = 1
    extents: bool = True  # the network returns the distances to a defect's sides
    height: int = 640  # of the pictures that it was trained with, in pixels
    width: int = 640

    @property
    def input(self) -> InputSpec:
        """The size and colour of the pictures."""
        return InputSpec(height=self.height, width=self.width, color="gray" if self.in_channels == 1 else "bgr")


class Comparator(nn.Module):
    """The comparator network. It takes pictures `(N, C, H, W)` uint8 with sides that are multiples of 32."""

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
        self.extent = nn.Conv2d(widths[0], 4, 1) if config.extents else None
        # A probability of 1 % for each cell at the start, which the focal loss needs.
        _start_at(self.kind, -4.6)
        if self.extent is not None:
            _start_at(self.extent, 1.0)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return features at the strides s of 4, 8, 16 and 32, each as `(N, widths[i], H/s, W/s)` float32."""
        x = self.stem(image.to(self.kind.weight.dtype) / 127.5 - 1.0)
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features

    def compare(self, master: list[Tensor], image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the map and the extents of the defects for features of the masters and pictures of boards.

        The map is `(N, K, H/4, W/4)` float32, the probability of each kind. The extents are `(N, 4, H/4, W/4)`
        float32, the distances in pixels from a cell's centre to the defect's left, top, right and bottom side.
        They are None if the configuration says so.
        """
        logits, extents = self.decode(master, self.encode(image))
        return logits.sigmoid(), extents

    def decode(self, master: list[Tensor], board: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return map and extents as `compare` does, from the features of both pictures.

        The map holds logits and not probabilities, because the losses need logits.
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
        return self.kind(x), None if self.extent is None else F.relu(self.extent(x)) * 8.0

    def forward(self, master: Tensor, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the map and the extents of the defects for masters and boards `(N, C, H, W)` uint8."""
        return self.compare(self.encode(master), image)


class Reference(nn.Module):
    """The ONNX graph that runs once for each master. It turns pictures `(N, C, H, W)` uint8 into features."""

    def __init__(self, model: Comparator) -> None:
        super().__init__()
        self.model = model

    def forward(self, master: Tensor) -> tuple[Tensor, ...]:
        """Return the features of the masters at the strides 4, 8, 16 and 32."""
        return tuple(self.model.encode(master))


class Judge(nn.Module):
    """The ONNX graph that runs for each board. It takes the board's picture and its master's features."""

    def __init__(self, model: Comparator) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, features: list[Tensor]) -> tuple[Tensor, ...]:
        """Return the map and, if the network has them, the extents of the defects, as `Comparator.compare`."""
        map_, extents = self.model.compare(features, image)
        return (map_,) if extents is None else (map_, extents)


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
