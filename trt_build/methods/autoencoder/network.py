"""Autoencoder: a picture into a score that joins how unusual its code is and how badly it is reconstructed.

The method of JP 7735801 B2 (Denso). An encoder turns X into a code Z, a decoder turns Z into X^; the score is
lambda1 L1 + lambda2 L2 with L1 a norm of Z - C, where C is the centre of the codes of good pictures, L2 a
distance of X^ and X, and each lambda the reciprocal of the mean of its score over good pictures that were kept
from training. `train.py` trains it, with the gradients that the patent gives each half.

What the patent leaves open and is chosen here:
- The encoder starts with a network trained on another data set, which stays as it is. X is the picture as that
  network sees it: its features at strides 4, 8 and 16, averaged over cells of 16x16 pixels. Pixels themselves
  are reconstructed as well with most defects as without.
- A code is a few numbers for each cell, and C is the mean code of each cell's place. The decoder turns each
  cell's numbers alone into that cell's features: 1x1 convolutions, and a Jacobian that falls into small blocks.
- Both norms are Mahalanobis', so that each direction counts by how much good pictures differ in it. Over the
  cells, the norm of codes is the mean of the largest fifth, which tells pictures that are unusual at large; the
  distance is the mean of the largest hundredth, which tells small defects.
- The distance is relative to how far X^ is from the mean picture: bright and rough places differ more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from edge.errors import EdgeError
from edge.manifest import InputSpec
from trt_build.backbones.open import Backbone, build_backbone
from trt_build.methods.good_parts.distance import Deviation, Kind, distance_of, ssim_distance

CELL = 16  # input pixels, along each axis
STRIDE = 4  #: input pixels a cell of the map, along each axis
COARSEST = 32  #: both sides of a picture must be a multiple of this
RARE = 8.0  # deviations; an encoder that saw more would have its INT8 steps made coarse by a few outliers
GLOBAL, LOCAL = 0.2, 0.01  # parts of all cells, those with the largest values, that L1 and L2 are the mean of


class AutoencoderError(EdgeError, ValueError):
    """An autoencoder that cannot be built as asked."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """The shape of the network; travels with the weights."""

    backbone: str = "efficientnet_lite0"  # a name of `trt_build.backbones.open`
    in_channels: int = 3  # or 1, grey
    height: int = 256
    width: int = 256
    code: int = 8  # numbers of a cell
    hidden: int = 128  # channels between features and codes, both ways
    distance: Kind = "mse"
    spectral: bool = False  # the decoder's weights are divided by their largest singular values

    @property
    def spec(self) -> InputSpec:
        """What the network is fed."""
        return InputSpec(height=self.height, width=self.width, color="gray" if self.in_channels == 1 else "rgb")


class Autoencoder(nn.Module):
    """Pictures are `(N, C, H, W)` uint8, RGB or grey, of the size in the config; scaling happens inside.

    The backbone's weights come with `backbone`, or later with a checkpoint's. AutoencoderError for a size
    or a number of channels that does not fit.
    """

    def __init__(self, config: AutoencoderConfig, backbone: Backbone | None = None) -> None:
        super().__init__()
        if config.height % COARSEST or config.width % COARSEST or config.in_channels not in (1, 3):
            raise AutoencoderError(
                f"expected sides that are multiples of {COARSEST} and 1 or 3 channels, "
                f"found {config.width}x{config.height} and {config.in_channels}"
            )
        self.config = config
        self.backbone = backbone or build_backbone(config.backbone)
        seen, hidden, code = sum(self.backbone.channels), config.hidden, config.code
        self.encoder = nn.Sequential(nn.Conv2d(seen, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, code, 1))
        halves: list[nn.Module] = [nn.Conv2d(code, hidden, 1), nn.Conv2d(hidden, seen, 1)]
        if config.spectral:
            halves = [parametrizations.spectral_norm(half) for half in halves]
        self.decoder = nn.Sequential(halves[0], nn.ReLU(), halves[1])
        self.mean: Tensor
        self.scale: Tensor
        self.centre: Tensor
        self.lambdas: Tensor
        self.register_buffer("mean", torch.zeros(1, seen, 1, 1))
        self.register_buffer("scale", torch.ones(1, seen, 1, 1))
        self.register_buffer("centre", torch.zeros(code, config.height // CELL, config.width // CELL))
        self.register_buffer("lambdas", torch.ones(2))
        self.unusual, self.differing = Deviation(code), Deviation(seen)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """`score` `(N,)`, about two for a good part, and `map` `(N, 1, H/4, W/4)`: where X^ differs."""
        l1, l2, map_ = self.judge(self.look(image))
        return self.lambdas[0] * l1 + self.lambdas[1] * l2, self.lambdas[1] * map_

    def scores(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """L1 and L2, `(N,)` each, without their lambdas."""
        return self.judge(self.look(image))[:2]

    def look(self, image: Tensor) -> Tensor:
        """X `(N, P, H/16, W/16)`: features with a mean of zero and a deviation of one, after `fit_features`."""
        levels = self.backbone(image)
        return (torch.cat([self._in_cells(level) for level in levels], 1) - self.mean) * self.scale

    def encode(self, seen: Tensor) -> Tensor:
        """Z `(N, code, H/16, W/16)` of what `look` has seen."""
        code: Tensor = self.encoder(seen.clamp(-RARE, RARE))
        return code

    def judge(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """L1, L2 and the map, without the lambdas, of what `look` has seen."""
        code = self.encode(seen)
        again = self.decoder(code)
        unusual = self.unusual(code - self.centre)
        differing = self._distance(seen, again)
        map_ = F.interpolate(differing.sqrt(), scale_factor=CELL / STRIDE, mode="bilinear")
        return _largest(unusual, GLOBAL).sqrt(), _largest(differing, LOCAL).sqrt(), map_

    @torch.no_grad()
    def fit_features(self, seen: Tensor) -> Tensor:
        """Take what was seen of good pictures, at first, as usual; returns it as seen from now on."""
        self.mean.copy_(seen.mean((0, 2, 3), keepdim=True))
        self.scale.copy_(seen.var((0, 2, 3), keepdim=True).clamp_min(1e-12).rsqrt())
        return (seen - self.mean) * self.scale

    @torch.no_grad()
    def fit_scale(self, trained: Tensor, held_out: Tensor) -> None:
        """After training: the norms by the pictures trained with, the lambdas by others."""
        code = self.encode(trained)
        self.unusual.fit(code - self.centre)
        self.differing.fit(trained - self.decoder(code))
        l1, l2, _ = self.judge(held_out)
        self.lambdas.copy_(1 / torch.stack((l1.mean(), l2.mean())).clamp_min(1e-12))

    def fold(self) -> Autoencoder:
        """Turns weights that are computed from others, as spectral normalisation does, into plain ones."""
        for layer in self.decoder:
            if parametrize.is_parametrized(layer):
                parametrize.remove_parametrizations(layer, "weight")
        return self

    def _in_cells(self, level: Tensor) -> Tensor:
        per_cell = level.shape[-1] * CELL // self.config.width
        return F.avg_pool2d(level, per_cell) if per_cell > 1 else level

    def _distance(self, seen: Tensor, again: Tensor) -> Tensor:
        """Squared, at each cell, `(N, 1, H/16, W/16)`."""
        error = self.differing(seen - again) / (1 + again.square().mean(1, keepdim=True))
        return distance_of(self.config.distance, error, ssim_distance(seen, again))


def _largest(places: Tensor, part: float) -> Tensor:
    """The mean of a picture's largest values, `(N,)`."""
    values = places.flatten(1)
    return values.topk(max(1, round(part * values.shape[1])), dim=1).values.mean(1)
