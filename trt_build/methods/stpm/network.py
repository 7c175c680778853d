"""Scores a picture by how far a student network's features are from those of its teacher.

This is STPM (Wang et al., BMVC 2021, arXiv 2103.04257). The teacher is frozen and was trained on other
pictures. It computes features at three strides, and the student learns to compute the same features for good
parts. If `second` is set, a second student imitates a second teacher (Yamada & Hotta, arXiv 2111.15376 and
2210.07548). The second student gets the first teacher's deepest features (`restorer.py`). Each pair learns by
itself: a second pair changes nothing of the first.

With `as_published`, the network is that of the papers. Otherwise, four things differ:

- The first student learns whitened features (`targets.py`), and the distance is squared. The papers use the
  cosine of raw features, which hardly changes at a defect, because defects show in directions that hardly vary.
- The first student is a small network and not a copy of the teacher, so it trains and runs faster.
- The second student repeats cells where the papers' has transposed convolutions, and it is narrower.
- All maps are scaled before their mean is taken (`maps.py`). The score is the mean of the highest cells. A
  second pair counts only as far as it helps (`pairs.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from edge.manifest import InputSpec
from trt_build.backbones.open import Backbone, build_backbone
from trt_build.methods.good_parts.maps import MapScale
from trt_build.methods.stpm.pairs import Pairs
from trt_build.methods.stpm.product import Product
from trt_build.methods.stpm.restorer import Restorer
from trt_build.methods.stpm.students import Student, Twin
from trt_build.methods.stpm.targets import Target, UnitVectors, Whitened

#: Input pixels for each cell of the map, along each axis.
STRIDE = 4
#: Both sides of a picture must be a multiple of this, in pixels.
COARSEST = 32
LEVELS = 3


@dataclass(frozen=True, kw_only=True)
class STPMConfig:
    """The configuration of an STPM network. The checkpoint holds it together with the weights."""

    teacher: str = "efficientnet_lite2"  # a name in `trt_build.backbones.open`
    second: str | None = None  # the teacher of the second pair; None means no second pair
    height: int = 256  # size of a picture, in pixels
    width: int = 256
    stem: int = 24
    widths: tuple[int, int, int] = (32, 64, 128)  # channels of the first student at strides 4, 8 and 16
    blocks: tuple[int, int, int] = (1, 1, 1)  # residual blocks of the first student at the same strides
    #: Channels of the second student at these strides; None means those of its teacher.
    second_widths: tuple[int, int, int] | None = (32, 64, 128)
    #: Students, targets and the product of distances as in the papers.
    as_published: bool = False

    @property
    def spec(self) -> InputSpec:
        """The size and colour of the network's input pictures."""
        return InputSpec(height=self.height, width=self.width, color="rgb")


class Seen(NamedTuple):
    """What the teachers see in N pictures, and what the students get.

    `targets` has for each teacher and stride what its student learns, `(N, C, H/s, W/s)`. `deepest` has the
    first teacher's deepest features if there is a second student.
    """

    image: Tensor  # (N, 3, H, W) uint8
    targets: Sequence[Tensor]
    deepest: Tensor | None


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
        first, published = teachers[0].channels, config.as_published
        self.teachers = nn.ModuleList(teachers)
        # The first student comes first: a second one then leaves the random numbers of its weights as they are.
        self.student = (
            Twin(config.teacher) if published else Student(config.stem, config.widths, config.blocks, first)
        )
        self.targets = nn.ModuleList(UnitVectors() if published else Whitened(width) for width in first)
        self.restorer = None
        if len(teachers) > 1:
            channels = teachers[1].channels
            widths = config.second_widths or channels
            self.restorer = Restorer(teachers[0].depth, widths, channels, as_published=published)
            self.targets.extend(UnitVectors() for _ in channels)
        self.combine: Product | Pairs | MapScale
        if published:
            self.combine = Product(LEVELS)
        else:
            self.combine = MapScale(LEVELS) if self.restorer is None else Pairs(LEVELS)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score as `(N,)` and the anomaly map as `(N, 1, H/4, W/4)`, both float32."""
        score, map_ = self.combine(self.distances(self.look(image)))
        return score, map_

    def look(self, image: Tensor) -> Seen:
        """Return what the teachers see in pictures."""
        raw = self._raw(image)
        targets = [target(features) for target, features in zip(self.targets, raw, strict=True)]
        deepest = self._first.deepest(raw[LEVELS - 1]) if self.restorer is not None else None
        return Seen(image, targets, deepest)

    def expect(self, seen: Seen) -> list[Tensor]:
        """Return the students' features. For good parts they are close to `seen.targets`."""
        expected: list[Tensor] = self.student(seen.image)
        if self.restorer is not None:
            assert seen.deepest is not None
            own = [target.float() for target in seen.targets[LEVELS:]]
            expected += self.restorer(seen.deepest.float(), own)
        return expected

    def distances(self, seen: Seen) -> list[Tensor]:
        """Return how far the students are from their targets at each cell, as a map for each target."""
        return [target.distance(*features) for target, *features in self._compared(seen)]

    def loss(self, seen: Seen) -> Tensor:
        """Return the students' errors, summed over all teachers and strides, as a scalar."""
        return torch.stack([target.loss(*features) for target, *features in self._compared(seen)]).sum()

    def fit_features(self, batches: Iterable[Tensor]) -> None:
        """Learn from good training pictures, `(N, 3, H, W)` uint8, what is usual for their features."""
        with torch.no_grad():
            raw = [[features.half() for features in self._raw(image)] for image in batches]
        for level, target in enumerate(self.targets):
            cast(Target, target).fit(features[level] for features in raw)

    @torch.no_grad()
    def fit_scale(self, good: Iterable[Seen], defective: Iterable[Seen] = ()) -> None:
        """Set the scale of map and score on good parts that were not used in training.

        With a second pair, `defective` are copies of these parts with defects. They set how much it counts.
        """
        if isinstance(self.combine, MapScale):
            self.combine.fit([self.distances(seen) for seen in good])
        elif isinstance(self.combine, Pairs):
            self.combine.fit(*([self.distances(seen) for seen in parts] for parts in (good, defective)))

    def _compared(self, seen: Seen) -> Iterator[tuple[Target, Tensor, Tensor]]:
        expected = self.expect(seen)
        for target, there, here in zip(self.targets, seen.targets, expected, strict=True):
            yield cast(Target, target), there.float(), here

    @property
    def _first(self) -> Backbone:
        first = self.teachers[0]
        assert isinstance(first, Backbone)
        return first

    def _raw(self, image: Tensor) -> list[Tensor]:
        return [features for teacher in self.teachers for features in teacher(image)]
