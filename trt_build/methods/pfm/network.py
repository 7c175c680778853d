"""Scores a picture by how badly two frozen networks predict each other's features.

This is pre-trained feature mapping (PFM, Wan et al., IEEE TII 2022). Small projections of 1x1 convolutions
compute each network's features from the other's. Both directions share a middle layer. The projections are
trained on good parts only, so they are wrong at defects. If `position` is set, sines and cosines of a cell's
row and column are added to its features (PEFM, Wan et al., CASE 2022). Unless `as_published` is set, two things
differ from the papers:

- The projections map whitened features (`whitening.py`), and the distance is relative to how far the expected
  features are from the mean. Otherwise a few strong channels and places would decide.
- Each direction at each stride gives its own map, and `maps.py` scales the maps before it takes their mean.
  Places with weak features count more in the score than in the anomaly map, because faint defects lie there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edge.manifest import InputSpec
from trt_build.backbones.open import Backbone, build_backbone
from trt_build.methods.good_parts.maps import MapScale
from trt_build.methods.pfm.level import Level, Pair
from trt_build.methods.pfm.published import MeanMap

#: Input pixels for each cell of the backbones' features, along each axis.
STRIDES = (4, 8, 16)
#: Channels of the shared middle layer at each stride: ours, those of the PFM paper, and of the PEFM paper.
LATENTS = {4: 64, 8: 64, 16: 64}
LATENTS_AS_PUBLISHED, LATENTS_AS_PUBLISHED_POSITION = {4: 200, 8: 400, 16: 900}, {4: 200, 8: 400, 16: 800}
#: How often a map is smoothed, and the share of its highest cells whose mean is the score.
SMOOTHINGS, TOP = 1, 0.003
#: What is added to the mean square by which distances are divided: for the score, and for the anomaly map.
SCORED, SHOWN = 0.3, 1.0


@dataclass(frozen=True, kw_only=True)
class PFMConfig:
    """The configuration of a PFM network. The checkpoint holds it together with the weights."""

    first: str = "efficientnet_lite2"  # names in `trt_build.backbones.open`
    second: str = "efficientnet_lite0"
    height: int = 256  # size of a picture, in pixels
    width: int = 256
    strides: tuple[int, ...] = STRIDES  # or some of them, from fine to coarse
    latents: tuple[int, ...] = tuple(LATENTS.values())  # channels of the shared middle layer, for each stride
    position: bool = False
    as_published: bool = False  # features of length one, the mean of all maps, and its maximum as the score

    @property
    def spec(self) -> InputSpec:
        """The size and colour of the network's input pictures."""
        return InputSpec(height=self.height, width=self.width, color="rgb")


def usual_latents(config: PFMConfig) -> tuple[int, ...]:
    """Return the channels of the shared middle layer for each stride if nobody asks for others."""
    published = LATENTS_AS_PUBLISHED_POSITION if config.position else LATENTS_AS_PUBLISHED
    return tuple((published if config.as_published else LATENTS)[stride] for stride in config.strides)


class PFM(nn.Module):
    """Takes pictures as `(N, 3, H, W)` uint8 RGB, and gives a score and an anomaly map for each.

    H and W are multiples of 32. The backbones get their weights from `backbones` or later from a checkpoint.
    Call `fit_features` with good parts before the training, and `fit_scale` with other good parts after it.
    """

    def __init__(self, config: PFMConfig, backbones: tuple[Backbone, Backbone] | None = None) -> None:
        super().__init__()
        self.config = config
        first, second = backbones or (build_backbone(config.first), build_backbone(config.second))
        self.first, self.second = first, second
        self._taps = tuple(STRIDES.index(stride) for stride in config.strides)
        self.levels = nn.ModuleList(
            Level(
                (first.channels[tap], second.channels[tap]),
                latent,
                self._code_size(stride),
                as_published=config.as_published,
            )
            for tap, stride, latent in zip(self._taps, config.strides, config.latents, strict=True)
        )
        self.scored, self.shown = (
            MeanMap(config.width)
            if config.as_published
            else MapScale(2 * len(self.levels), smoothings=SMOOTHINGS, top=TOP)
            for _ in range(2)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score as `(N,)` and the anomaly map as `(N, 1, H/s, W/s)`.

        s is the finest stride. As published, the map has the size of the picture.
        """
        return self.judge(self.whiten(self.look(image)))

    def judge(self, seen: Sequence[Pair]) -> tuple[Tensor, Tensor]:
        """Return score and anomaly map, as `forward` does, from features that `whiten` returned."""
        scored, shown = self.maps(seen)
        return self.scored(scored)[0], self.shown(shown)[1]

    def look(self, image: Tensor) -> list[Pair]:
        """Return the features of both backbones as a pair for each stride, as the backbones give them."""
        first, second = self.first(image), self.second(image)
        return [(first[tap], second[tap]) for tap in self._taps]

    def whiten(self, raw: Sequence[Pair]) -> list[Pair]:
        """Return each stride's pair of features from `look`, as the projections map them, float32."""
        return [level.whiten(pair) for level, pair in zip(self._levels, raw, strict=True)]

    def maps(self, seen: Sequence[Pair]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the error maps for the score and those for the anomaly map, `(N, 1, h, w)` float32.

        There are two for each stride's pair: one for each backbone.
        """
        scored: list[Tensor] = []
        shown: list[Tensor] = []
        for level, pair in zip(self._levels, seen, strict=True):
            told = level.tell(pair)
            scored += level.distances(pair, told, least=SCORED)
            shown += level.distances(pair, told, least=SHOWN)
        return scored, shown

    def fit_features(self, batches: Sequence[Sequence[Pair]]) -> None:
        """Learn from features of good parts, as `look` gives them, how to make features uncorrelated.

        As published, nothing is learned: features are only scaled to a length of one.
        """
        if self.config.as_published:
            return
        for level, pairs in zip(self._levels, zip(*batches, strict=True), strict=True):
            level.fit_features(pairs)

    @torch.no_grad()
    def fit_scale(self, seen: Iterable[Sequence[Pair]]) -> None:
        """Set the scale of map and score on features of good parts that were not used in training.

        As published, map and score have no scale.
        """
        maps = [self.maps(pairs) for pairs in seen]
        for number, scale in enumerate((self.scored, self.shown)):
            if isinstance(scale, MapScale):
                scale.fit([both[number] for both in maps])

    @property
    def _levels(self) -> list[Level]:
        return [level for level in self.levels if isinstance(level, Level)]

    def _code_size(self, stride: int) -> tuple[int, int] | None:
        config = self.config
        return (config.height // stride, config.width // stride) if config.position else None
