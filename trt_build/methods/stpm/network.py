"""Scores a picture by how far a student network's features are from those of its teacher.

This is STPM (Wang et al., BMVC 2021, arXiv 2103.04257). The teacher is frozen and was trained on other
pictures. It computes features at three strides, and the student learns to compute the same features for good
parts. If `second` is set, a second student imitates a second teacher (Yamada & Hotta, arXiv 2111.15376 and
2210.07548). The second student gets the first teacher's deepest features, which are too coarse to show a
defect. At two strides it also gets an attention map: one number a cell, computed from the second teacher.
Four things differ from the papers:

- The students learn whitened features (`whitening.py`), and the distance is squared. The papers use the cosine
  of raw features, which hardly changes at a defect, because defects show in directions that hardly vary.
- The distance is divided by one plus the mean square of the student's features.
- The first student is a small network and not a copy of the teacher, so it trains and runs faster. The second
  student is narrow and multiplies its features by `1 + A`, where A is the attention map.
- All maps are scaled before their mean is taken (`maps.py`). The score is the mean of the highest cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge.manifest import InputSpec
from trt_build.backbones.open import Backbone, build_backbone
from trt_build.methods.good_parts.distance import relative_distance
from trt_build.methods.good_parts.maps import MapScale
from trt_build.methods.good_parts.whitening import Whitening

#: Input pixels for each cell of the map, along each axis.
STRIDE = 4
#: Both sides of a picture must be a multiple of this, in pixels.
COARSEST = 32
LEVELS = 3
#: Channels from which an attention map is computed.
GATE = 32


@dataclass(frozen=True, kw_only=True)
class STPMConfig:
    """The configuration of an STPM network. The checkpoint holds it together with the weights."""

    teacher: str = "efficientnet_lite0"  # a name in `trt_build.backbones.open`
    second: str | None = None  # the teacher of the second pair; None means no second pair
    height: int = 256  # size of a picture, in pixels
    width: int = 256
    stem: int = 24
    widths: tuple[int, int, int] = (32, 64, 128)  # channels of the students at strides 4, 8 and 16
    blocks: tuple[int, int, int] = (1, 1, 1)  # residual blocks of the first student at the same strides

    @property
    def spec(self) -> InputSpec:
        """The size and colour of the network's input pictures."""
        return InputSpec(height=self.height, width=self.width, color="rgb")


class STPM(nn.Module):
    """Takes pictures as `(N, 3, H, W)` uint8 RGB, and gives a score and an anomaly map for each.

    H and W are multiples of 32. The teachers get their weights from `teachers` or later from a checkpoint. Call
    `fit_features` with good parts before the training, and `fit_scale` with other good parts after it.
    """

    def __init__(self, config: STPMConfig, teachers: Sequence[Backbone] | None = None) -> None:
        super().__init__()
        self.config = config
        names = (config.teacher,) if config.second is None else (config.teacher, config.second)
        teachers = teachers or [build_backbone(name) for name in names]
        channels = [teacher.channels for teacher in teachers]
        self.teachers = nn.ModuleList(teachers)
        self.whitenings = nn.ModuleList(Whitening(width) for widths in channels for width in widths)
        self.student = _Student(config, channels[0])
        self.restorer = _Restorer(config.widths, teachers[0].depth, channels[1]) if config.second else None
        self.scale = MapScale(len(self.whitenings))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score as `(N,)` and the anomaly map as `(N, 1, H/4, W/4)`, both float32."""
        score, map_ = self.scale(self.maps(image))
        return score, map_

    def maps(self, image: Tensor) -> list[Tensor]:
        """Return the distance between student and teacher at each cell, as a map for each stride."""
        seen, deepest = self.look(image)
        expected = self.expect(image, seen, deepest)
        return [relative_distance(*levels) for levels in zip(seen, expected, strict=True)]

    def look(self, image: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Return the teachers' features, `(N, C, H/s, W/s)`, and the first teacher's deepest features.

        The teachers' features are made uncorrelated (whitened). Without a second student, the deepest are None.
        """
        raw = self._raw(image)
        seen = [whiten(features) for whiten, features in zip(self.whitenings, raw, strict=True)]
        return seen, self._first.deepest(raw[LEVELS - 1]) if self.restorer is not None else None

    def expect(self, image: Tensor, seen: list[Tensor], deepest: Tensor | None) -> list[Tensor]:
        """Return the students' features. For good parts they are close to `seen`, the teachers' features."""
        expected: list[Tensor] = self.student(image)
        if self.restorer is not None:
            expected += self.restorer(deepest, *seen[LEVELS + 1 :])
        return expected

    def fit_features(self, batches: Iterable[Tensor]) -> None:
        """Learn from good training pictures, `(N, 3, H, W)` uint8, how to make their features uncorrelated."""
        with torch.no_grad():
            raw = [[features.half() for features in self._raw(image)] for image in batches]
        for level, whitening in enumerate(self.whitenings):
            assert isinstance(whitening, Whitening)
            whitening.fit(features[level] for features in raw)

    def fit_scale(self, batches: Iterable[Tensor]) -> None:
        """Set the scale of map and score on pictures of good parts that were not used in training."""
        with torch.no_grad():
            self.scale.fit([self.maps(image) for image in batches])

    @property
    def _first(self) -> Backbone:
        first = self.teachers[0]
        assert isinstance(first, Backbone)
        return first

    def _raw(self, image: Tensor) -> list[Tensor]:
        return [features for teacher in self.teachers for features in teacher(image)]


class _Student(nn.Module):
    """The first student: computes the teacher's whitened features at three strides from pictures."""

    def __init__(self, config: STPMConfig, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = _conv(3, config.stem, 3, stride=2)
        widths = pairwise((config.stem, *config.widths))
        self.levels = nn.ModuleList(
            nn.Sequential(_conv(before, width, 3, stride=2), *(_Block(width) for _ in range(count)))
            for (before, width), count in zip(widths, config.blocks, strict=True)
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(width, channel, 1) for width, channel in zip(config.widths, channels, strict=True)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image.to(torch.float32) / 127.5 - 1.0)
        expected = []
        for level, head in zip(self.levels, self.heads, strict=True):
            x = level(x)
            expected.append(head(x))
        return expected


class _Restorer(nn.Module):
    """The second student: computes a teacher's whitened features from another teacher's deepest features."""

    def __init__(self, widths: tuple[int, int, int], deepest: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = _conv(deepest, widths[2], 3)
        self.narrow = nn.ModuleList(_conv(above, width, 1) for width, above in pairwise(widths))
        self.blocks = nn.ModuleList(_Block(width) for width in widths)
        self.heads = nn.ModuleList(
            nn.Conv2d(width, channel, 1) for width, channel in zip(widths, channels, strict=True)
        )
        self.gates = nn.ModuleList(_gate(channel) for channel in channels[1:])

    def forward(self, deepest: Tensor, eight: Tensor, sixteen: Tensor) -> list[Tensor]:
        x = self.stem(deepest)
        expected: list[Tensor] = []
        for level in reversed(range(LEVELS)):
            x = self.blocks[level](F.interpolate(x, scale_factor=2.0, mode="nearest"))
            expected.insert(0, self.heads[level](x))
            if level:
                gate = self.gates[level - 1]((eight, sixteen)[level - 1])
                x = self.narrow[level - 1](x * (1 + gate))
        return expected


def _gate(channels: int) -> nn.Sequential:
    return nn.Sequential(_conv(channels, GATE, 3), nn.Conv2d(GATE, 1, 1), nn.Sigmoid())


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width, 3)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


def _conv(before: int, after: int, size: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
