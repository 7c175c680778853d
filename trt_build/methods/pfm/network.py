"""PFM: scores a picture by how badly two frozen networks predict each other's features.

Pre-trained feature mapping (Wan et al., IEEE TII 2022), in both directions and at several levels. At each
place, small projections of 1x1 convolutions compute one network's features from the other's, through a coder
that both directions share. They are trained on good parts only, so they are wrong where a part is defective.
With `position`, a code of each place is added to the input (PEFM, Wan et al., CASE 2022).

What differs from the papers, and why: - The projections map whitened features (`whitening.py`), and the
distance is relative to how far the expected features are from the mean. Otherwise a few strong channels and
places would decide. - Each direction of each level is a map of its own, and `maps.py` scales them before their
mean.
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
    """The shape of the projections; the checkpoint holds it with the weights."""

    first: str = "efficientnet_lite2"  # names in `trt_build.backbones.open`
    second: str = "efficientnet_lite0"
    height: int = 256  # size of a picture, in pixels
    width: int = 256
    strides: tuple[int, ...] = (8, 16)  # some of `STRIDES`, finest first
    latents: tuple[int, ...] = (64, 64)  # channels of the shared code, for each stride
    position: bool = False

    @property
    def spec(self) -> InputSpec:
        """The network's input."""
        return InputSpec(height=self.height, width=self.width, color="rgb")


class PFM(nn.Module):
    """Takes pictures `(N, 3, H, W)` uint8 RGB, sides a multiple of 32; gives `(score (N,), map (N, 1, H/s,
    W/s))`.

    s is the finest stride. The backbones' weights come with `backbones`, or later with a checkpoint.
    `fit_features` is called with good parts before the training, `fit_scale` with others after it.
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
        """Return the score `(N,)` and the anomaly map `(N, 1, H/s, W/s)`, float32."""
        score, map_ = self.scale(self.maps(self.look(image)))
        return score, map_

    def look(self, image: Tensor) -> list[Pair]:
        """Return the whitened features of both backbones, float32, a pair for each level."""
        return [level.whiten(pair) for level, pair in zip(self._levels, self._raw(image), strict=True)]

    def maps(self, seen: Sequence[Pair]) -> list[Tensor]:
        """Return the error maps `(N, 1, h, w)` float32 of both directions, the finest level first."""
        return [map_ for level, pair in zip(self._levels, seen, strict=True) for map_ in level(pair)]

    def fit_features(self, batches: Iterable[Tensor]) -> None:
        """Fit the whitening to pictures `(N, 3, H, W)` uint8 of good parts that are trained with."""
        with torch.no_grad():
            raw = [[(one.half(), other.half()) for one, other in self._raw(image)] for image in batches]
        for level, pairs in zip(self._levels, zip(*raw, strict=True), strict=True):
            level.fit_features(pairs)

    @torch.no_grad()
    def fit_scale(self, seen: Iterable[Sequence[Pair]]) -> None:
        """Set the scale of map and score on the features of good parts that were not trained with."""
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
    """The projections at one stride: from whitened features `(N, C, h, w)` to both directions' error maps."""

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
        """Return the error maps `(N, 1, h, w)` float32 of both directions."""
        told, other = self.tell(seen)
        return relative_distance(seen[0], told), relative_distance(seen[1], other)

    def tell(self, seen: Pair) -> Pair:
        """Return each network's features as predicted from the other's, `(N, C, h, w)` float32."""
        return self.project((seen[0].float(), seen[1].float()), self._codes() if self.placed else None)

    def whiten(self, raw: Pair) -> Pair:
        """Return the whitened features `(N, C, h, w)` float32 of both networks."""
        return self.whitenings[0](raw[0]), self.whitenings[1](raw[1])

    def fit_features(self, raw: Sequence[Pair]) -> None:
        """Fit the whitening to the networks' raw features of good parts."""
        for way, whitening in enumerate(self.whitenings):
            assert isinstance(whitening, Whitening)
            whitening.fit(pair[way] for pair in raw)

    def project(self, seen: Pair, codes: Pair | None = None) -> Pair:
        """Return the first network's features predicted from the second's with its code, and the reverse."""
        first, second = seen if codes is None else (seen[0] + codes[0], seen[1] + codes[1])
        told: Tensor = self.decoders[0](self.coder(self.encoders[1](second)))
        other: Tensor = self.decoders[1](self.coder(self.encoders[0](first)))
        return told, other

    def codes_at(self, places: Tensor) -> Pair | None:
        """Return the codes `(1, C, P, 1)` of places `(P,)`, which are numbered row by row."""
        if not self.placed:
            return None
        first, second = (code.flatten(2)[..., places, None] for code in self._codes())
        return first, second

    def _codes(self) -> Pair:
        return self.get_buffer("code_first"), self.get_buffer("code_second")


def position_code(channels: int, height: int, width: int) -> Tensor:
    """Return sines and cosines of column and row, `(1, channels, height, width)`, half the channels each."""
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
