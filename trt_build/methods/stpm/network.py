"""Student-teacher pyramid matching: scores a picture by how far a student's features are from its teacher's.

STPM (Wang et al., BMVC 2021, arXiv 2103.04257): a frozen teacher, trained on other pictures, gives features at
three levels; a student learns to give the same features for good parts. With a second pair (Yamada & Hotta,
arXiv 2111.15376 and 2210.07548), another student restores the features of another teacher. It gets only the
first teacher's deepest features, which are too coarse to hold a defect. At two levels the second teacher's
attention map, one number for each place, tells it where to look. Without `second`, the same code is STPM.

What differs from the papers, and why: - The students learn whitened features (`whitening.py`), and the distance
is squared. A defect shows in directions that hardly vary, which the cosine of raw features does not see. - The
distance is relative to how far the expected features are from the mean. - The first student is a plain network
and not a copy of the teacher: it trains in a fraction of the time and is cheaper on the line. The second
student is narrow, and its gates are `x (1 + A)` at both levels. - All maps are scaled before their mean
(`maps.py`); the score is the mean of the highest cells.
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
    """The shape of the networks; the checkpoint holds it with the weights."""

    teacher: str = "efficientnet_lite0"  # a name in `trt_build.backbones.open`
    second: str | None = None  # the teacher of the second pair; None means no second pair
    size: int = 256  # both sides of a picture, in pixels
    stem: int = 24
    widths: tuple[int, int, int] = (32, 64, 128)  # channels of the students at strides 4, 8 and 16
    blocks: tuple[int, int, int] = (1, 1, 1)  # residual blocks of the first student at the same strides

    @property
    def spec(self) -> InputSpec:
        """The network's input."""
        return InputSpec(height=self.size, width=self.size, color="rgb")


class STPM(nn.Module):
    """Takes pictures `(N, 3, H, W)` uint8 RGB, sides a multiple of 32; gives `(score (N,), map (N, 1, H/4,
    W/4))`.

    The teachers' weights come with `teachers`, or later with a checkpoint. `fit_features` is called with good
    parts before the training, `fit_scale` with others after it.
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
        """Return the score `(N,)` and the anomaly map `(N, 1, H/4, W/4)`, float32."""
        score, map_ = self.scale(self.maps(image))
        return score, map_

    def maps(self, image: Tensor) -> list[Tensor]:
        """Return the distance maps `(N, 1, H/s, W/s)` float32 of each pair, at strides s of 4, 8 and 16."""
        seen, deepest = self.look(image)
        expected = self.expect(image, seen, deepest)
        return [relative_distance(*levels) for levels in zip(seen, expected, strict=True)]

    def look(self, image: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Return the teachers' whitened features `(N, C, H/s, W/s)`, finest first, and the deepest ones.

        The deepest features are the first teacher's, and None without a second pair.
        """
        raw = self._raw(image)
        seen = [whiten(features) for whiten, features in zip(self.whitenings, raw, strict=True)]
        return seen, self._first.deepest(raw[LEVELS - 1]) if self.restorer is not None else None

    def expect(self, image: Tensor, seen: list[Tensor], deepest: Tensor | None) -> list[Tensor]:
        """Return the students' features, in the shapes of `seen`: the same as `seen` for a good part."""
        expected: list[Tensor] = self.student(image)
        if self.restorer is not None:
            expected += self.restorer(deepest, *seen[LEVELS + 1 :])
        return expected

    def fit_features(self, batches: Iterable[Tensor]) -> None:
        """Fit the whitening to pictures `(N, 3, H, W)` uint8 of good parts that are trained with."""
        with torch.no_grad():
            raw = [[features.half() for features in self._raw(image)] for image in batches]
        for level, whitening in enumerate(self.whitenings):
            assert isinstance(whitening, Whitening)
            whitening.fit(features[level] for features in raw)

    def fit_scale(self, batches: Iterable[Tensor]) -> None:
        """Set the scale of map and score on pictures of good parts that were not trained with."""
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
    """Pictures into what a teacher's whitened features at three levels would be."""

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
    """Restores a teacher's whitened features at three levels, finest first, from another's deepest features."""

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
