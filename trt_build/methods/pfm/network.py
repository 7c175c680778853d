"""Scores a picture by how badly two frozen networks predict each other's features.

This is pre-trained feature mapping (PFM, Wan et al., IEEE TII 2022). Small projections of 1x1 convolutions
compute each network's features from the other's. Both directions share a middle layer. The projections are
trained on good parts only, so they are wrong at defects. If `position` is set, sines and cosines of a cell's
row and column are added to its features (PEFM, Wan et al., CASE 2022). Two things differ from the papers:

- The projections map whitened features (`whitening.py`), and the distance is relative to how far the expected
  features are from the mean. Otherwise a few strong channels and places would decide.
- Each direction at each stride gives its own map, and `maps.py` scales the maps before it takes their mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edge.manifest import InputSpec
from trt_build.backbones.open import Backbone, build_backbone
from trt_build.methods.good_parts.distance import relative_distance
from trt_build.methods.good_parts.maps import MapScale
from trt_build.methods.good_parts.whitening import Whitening

#: Input pixels for each cell of the backbones' features, along each axis.
STRIDES = (4, 8, 16)
#: Both sides of a picture must be a multiple of this, in pixels.
COARSEST = 32

#: Features of the first backbone and of the second, `(N, C, h, w)` each.
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class PFMConfig:
    """The configuration of a PFM network. The checkpoint holds it together with the weights."""

    first: str = "efficientnet_lite2"  # names in `trt_build.backbones.open`
    second: str = "efficientnet_lite0"
    height: int = 256  # size of a picture, in pixels
    width: int = 256
    strides: tuple[int, ...] = (8, 16)  # some of `STRIDES`, finest first
    latents: tuple[int, ...] = (64, 64)  # channels of the shared middle layer, for each stride
    position: bool = False

    @property
    def spec(self) -> InputSpec:
        """The size and colour of the network's input pictures."""
        return InputSpec(height=self.height, width=self.width, color="rgb")


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
            Level((first.channels[tap], second.channels[tap]), latent, self._code_size(stride))
            for tap, stride, latent in zip(self._taps, config.strides, config.latents, strict=True)
        )
        self.scale = MapScale(2 * len(self.levels))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score as `(N,)` and the anomaly map as `(N, 1, H/s, W/s)`; s is the finest stride."""
        score, map_ = self.scale(self.maps(self.look(image)))
        return score, map_

    def look(self, image: Tensor) -> list[Pair]:
        """Return the features of both backbones as a pair for each stride, whitened (uncorrelated), float32."""
        return [level.whiten(pair) for level, pair in zip(self._levels, self._raw(image), strict=True)]

    def maps(self, seen: Sequence[Pair]) -> list[Tensor]:
        """Return two error maps, `(N, 1, h, w)` float32, for each stride's pair: one map for each backbone."""
        return [map_ for level, pair in zip(self._levels, seen, strict=True) for map_ in level(pair)]

    def fit_features(self, batches: Iterable[Tensor]) -> None:
        """Learn from good training pictures, `(N, 3, H, W)` uint8, how to make their features uncorrelated."""
        with torch.no_grad():
            raw = [[(one.half(), other.half()) for one, other in self._raw(image)] for image in batches]
        for level, pairs in zip(self._levels, zip(*raw, strict=True), strict=True):
            level.fit_features(pairs)

    @torch.no_grad()
    def fit_scale(self, seen: Iterable[Sequence[Pair]]) -> None:
        """Set the scale of map and score on features of good parts that were not used in training."""
        self.scale.fit([self.maps(pairs) for pairs in seen])

    def _raw(self, image: Tensor) -> list[Pair]:
        first, second = self.first(image), self.second(image)
        return [(first[tap], second[tap]) for tap in self._taps]

    @property
    def _levels(self) -> list[Level]:
        return [level for level in self.levels if isinstance(level, Level)]

    def _code_size(self, stride: int) -> tuple[int, int] | None:
        config = self.config
        return (config.height // stride, config.width // stride) if config.position else None


class Level(nn.Module):
    """Predicts each network's features from the other's at one stride. Gives an error map for each network."""

    def __init__(self, channels: tuple[int, int], latent: int, code_size: tuple[int, int] | None) -> None:
        super().__init__()
        self.whitenings = nn.ModuleList(Whitening(width) for width in channels)
        self.encoders = nn.ModuleList(_encoder(width, latent) for width in channels)
        self.coder = nn.Conv2d(2 * latent, latent, 1)
        self.decoders = nn.ModuleList(_decoder(latent, width) for width in channels)
        self.placed = code_size is not None
        if code_size:
            for name, width in zip(("first", "second"), channels, strict=True):
                self.register_buffer(f"code_{name}", position_code(width, *code_size), persistent=False)

    def forward(self, seen: Pair) -> Pair:
        """Return how wrong the prediction of each network's features is, as two maps `(N, 1, h, w)` float32."""
        told, other = self.tell(seen)
        return relative_distance(seen[0], told), relative_distance(seen[1], other)

    def tell(self, seen: Pair) -> Pair:
        """Return each network's features as predicted from the other's, `(N, C, h, w)` float32 each."""
        return self.project((seen[0].float(), seen[1].float()), self._codes() if self.placed else None)

    def whiten(self, raw: Pair) -> Pair:
        """Make both networks' raw features uncorrelated, with a variance of one; return them as float32."""
        return self.whitenings[0](raw[0]), self.whitenings[1](raw[1])

    def fit_features(self, raw: Sequence[Pair]) -> None:
        """Learn from good parts' raw features, a pair for each batch, how to make features uncorrelated."""
        for way, whitening in enumerate(self.whitenings):
            assert isinstance(whitening, Whitening)
            whitening.fit(pair[way] for pair in raw)

    def project(self, seen: Pair, codes: Pair | None = None) -> Pair:
        """Predict each network's features from the other's, after adding the position `codes` if given."""
        first, second = seen if codes is None else (seen[0] + codes[0], seen[1] + codes[1])
        told: Tensor = self.decoders[0](self.coder(self.encoders[1](second)))
        other: Tensor = self.decoders[1](self.coder(self.encoders[0](first)))
        return told, other

    def codes_at(self, places: Tensor) -> Pair | None:
        """Return codes of the positions of P cells, `(1, C, P, 1)` for either network; None if unused."""
        if not self.placed:
            return None
        first, second = (code.flatten(2)[..., places, None] for code in self._codes())
        return first, second

    def _codes(self) -> Pair:
        return self.get_buffer("code_first"), self.get_buffer("code_second")


def position_code(channels: int, height: int, width: int) -> Tensor:
    """Return sines and cosines that encode each cell's column and row, as `(1, channels, height, width)`."""
    steps = channels // 4
    rates = torch.exp(-math.log(10000.0) * torch.arange(steps) / steps)
    turns = [torch.arange(count)[:, None] * rates for count in (width, height)]
    column, row = (torch.cat((turn.sin(), turn.cos()), dim=1).T for turn in turns)
    code = torch.zeros(1, channels, height, width)
    code[0, : 2 * steps] = column[:, None, :]
    code[0, 2 * steps : 4 * steps] = row[:, :, None]
    return code


def _encoder(width: int, latent: int) -> nn.Sequential:
    between = width // 2 + latent
    return nn.Sequential(*_conv(width, between), *_conv(between, 2 * latent))


def _decoder(latent: int, width: int) -> nn.Sequential:
    between = width // 2 + latent
    return nn.Sequential(*_conv(latent, 2 * latent), *_conv(2 * latent, between), nn.Conv2d(between, width, 1))


def _conv(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
