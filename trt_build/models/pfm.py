"""PFM: a picture into how far two frozen networks' features are from what each network tells of the other's.

Pre-trained feature mapping (Wan et al., IEEE TII 2022), both ways and at several levels: at each place small
projections of 1x1 convolutions give one network's features from the other's, through a coder that both ways
share. They have only seen good parts, so where a part is bad they are wrong. With `position` each place's
code is added to what goes in (PEFM, Wan et al., CASE 2022).

What differs from the papers, and why:
- Channels of a difference count by how far they are off on good parts, and its norm is taken, not the square:
  a few loud channels and places would decide otherwise.
- Each way of each level is a map of its own, and `maps.py` brings them to one scale before the mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edge.manifest import InputSpec
from trt_build.backbones import Backbone, build_backbone
from trt_build.models.maps import MapScale

STRIDES = (4, 8, 16)  #: input pixels a cell of the backbones' features, along each axis
COARSEST = 32  #: both sides of a picture must be a multiple of this

Pair = tuple[Tensor, Tensor]  # of the first backbone and of the second


@dataclass(frozen=True, kw_only=True)
class PFMConfig:
    """The shape of the projections; travels with the weights."""

    first: str = "mobilenet_v2"  # names of `trt_build.backbones`
    second: str = "mobilenet_v1"
    height: int = 256  # of a picture, in pixels
    width: int = 256
    strides: tuple[int, ...] = (8, 16)  # of `STRIDES`, finest first
    latents: tuple[int, ...] = (64, 64)  # channels of the shared code, a stride
    position: bool = False

    @property
    def spec(self) -> InputSpec:
        """What the model is fed."""
        return InputSpec(height=self.height, width=self.width, color="rgb")


class PFM(nn.Module):
    """Pictures `(N, 3, H, W)` uint8 RGB, sides a multiple of 32, into `(score (N,), map (N, 1, H/s, W/s))`.

    s is the finest stride. The backbones' weights come with `backbones`, or later with a checkpoint's. Before
    training `learn_features` looks at good parts, after it `learn_scale` at others.
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
        score, map_ = self.scale(self.maps(self.look(image)))
        return score, map_

    def look(self, image: Tensor) -> list[Pair]:
        """Both backbones' features at each level, as they are."""
        first, second = self.first(image), self.second(image)
        return [(first[tap], second[tap]) for tap in self._taps]

    def maps(self, seen: Sequence[Pair]) -> list[Tensor]:
        """How wrong each way is at each place, `(N, 1, h, w)` a map, both ways of the finest level first."""
        return [map_ for level, pair in zip(self._levels, seen, strict=True) for map_ in level(pair)]

    @torch.no_grad()
    def learn_features(self, seen: Sequence[Pair]) -> None:
        """Take what is seen of good parts, a pair a level, as the features' mean and size."""
        for level, pair in zip(self._levels, seen, strict=True):
            level.learn_features(pair)

    @torch.no_grad()
    def learn_scale(self, seen: Iterable[Sequence[Pair]]) -> None:
        """Set the scale of map and score by what is seen of good parts that were not trained with."""
        seen = list(seen)
        for number, level in enumerate(self._levels):
            level.learn_spread([pairs[number] for pairs in seen])
        self.scale.learn([self.maps(pairs) for pairs in seen])

    @property
    def _levels(self) -> list[Level]:
        return [level for level in self.levels if isinstance(level, Level)]

    def _code_size(self, stride: int) -> tuple[int, int] | None:
        config = self.config
        return (config.height // stride, config.width // stride) if config.position else None


class Level(nn.Module):
    """Two networks' features at one stride, `(N, C, h, w)` each, into a map of either way's error."""

    def __init__(self, channels: tuple[int, int], latent: int, code_size: tuple[int, int] | None) -> None:
        super().__init__()
        first, second = channels
        self.encoders = nn.ModuleList(_encoder(width, latent) for width in channels)
        self.coder = nn.Conv2d(2 * latent, latent, 1)
        self.decoders = nn.ModuleList(_decoder(latent, width) for width in channels)
        for name, width in (("first", first), ("second", second)):
            self.register_buffer(f"mean_{name}", torch.zeros(width, 1, 1))
            self.register_buffer(f"size_{name}", torch.ones(()))
            self.register_buffer(f"spread_{name}", torch.ones(width, 1, 1))
            if code_size:
                self.register_buffer(f"code_{name}", position_code(width, *code_size), persistent=False)
        self.placed = code_size is not None

    def forward(self, seen: Pair) -> Pair:
        differences = self.differences(seen)
        return _norm(differences[0] / self._pair("spread")[0]), _norm(differences[1] / self._pair("spread")[1])

    def differences(self, seen: Pair) -> Pair:
        """What the projections give less what is there, float32."""
        there = self.normalised(seen)
        given = self.project(there, self._pair("code") if self.placed else None)
        return given[0].float() - there[0], given[1].float() - there[1]

    def normalised(self, seen: Pair) -> Pair:
        """Of one length at each place, centred, and of a mean square of one on good parts; float32."""
        means, sizes = self._pair("mean"), self._pair("size")
        return (_length(seen[0]) - means[0]) / sizes[0], (_length(seen[1]) - means[1]) / sizes[1]

    def project(self, there: Pair, codes: Pair | None = None) -> Pair:
        """The first's normalised features from the second's, and the second's from the first's."""
        first, second = there if codes is None else (there[0] + codes[0], there[1] + codes[1])
        told: Tensor = self.decoders[0](self.coder(self.encoders[1](second)))
        other: Tensor = self.decoders[1](self.coder(self.encoders[0](first)))
        return told, other

    def codes_at(self, places: Tensor) -> Pair | None:
        """The codes `(1, C, P, 1)` of places, numbered row by row."""
        if not self.placed:
            return None
        first, second = (code.flatten(2)[..., places, None] for code in self._pair("code"))
        return first, second

    def learn_features(self, seen: Pair) -> None:
        for features, mean, size in zip(seen, self._pair("mean"), self._pair("size"), strict=True):
            columns = _length(features)
            mean.copy_(columns.mean((0, 2, 3))[:, None, None])
            size.copy_((columns - mean).square().mean().sqrt().clamp_min(1e-6))

    def learn_spread(self, seen: Sequence[Pair]) -> None:
        """Of each channel's difference, its root mean square on good parts."""
        squares = [[d.square().mean((0, 2, 3)) for d in self.differences(pair)] for pair in seen]
        for way, spread in enumerate(self._pair("spread")):
            mean = torch.stack([pair[way] for pair in squares]).mean(0)
            spread.copy_((mean + 0.01 * mean.mean()).sqrt()[:, None, None])

    def _pair(self, name: str) -> Pair:
        return self.get_buffer(f"{name}_first"), self.get_buffer(f"{name}_second")


def position_code(channels: int, height: int, width: int) -> Tensor:
    """Sines and cosines of column and row, `(1, channels, height, width)`; half of the channels for each."""
    steps = channels // 4
    rates = torch.exp(-math.log(10000.0) * torch.arange(steps) / steps)
    turns = [torch.arange(count)[:, None] * rates for count in (width, height)]
    column, row = (torch.cat((turn.sin(), turn.cos()), dim=1).T for turn in turns)
    code = torch.zeros(1, channels, height, width)
    code[0, : 2 * steps] = column[:, None, :]
    code[0, 2 * steps : 4 * steps] = row[:, :, None]
    return code


def _length(features: Tensor) -> Tensor:
    """Of the length at each place that numbers of one would have."""
    features = features.float()
    return features * torch.rsqrt(features.square().mean(1, keepdim=True) + 1e-12)


def _norm(difference: Tensor) -> Tensor:
    return (difference.square().mean(1, keepdim=True) + 1e-12).sqrt()


def _encoder(width: int, latent: int) -> nn.Sequential:
    between = width // 2 + latent
    return nn.Sequential(*_conv(width, between), *_conv(between, 2 * latent))


def _decoder(latent: int, width: int) -> nn.Sequential:
    between = width // 2 + latent
    return nn.Sequential(*_conv(latent, 2 * latent), *_conv(2 * latent, between), nn.Conv2d(between, width, 1))


def _conv(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
