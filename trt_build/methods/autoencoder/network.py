"""Defines the autoencoder, which scores a picture by how unusual its code is and how badly it is reconstructed.

The method is that of JP 7735801 B2 (Denso). An encoder turns the features X of a picture into a code Z, and a
decoder turns Z into X^, which should equal X. The score is lambda1 L1 + lambda2 L2. L1 is a norm of Z - C,
where C is the centre of the codes of good pictures. L2 is a distance between X^ and X. Each lambda is one
divided by the mean of its L on good pictures that were not used for training. `train.py` trains the encoder and
the decoder.

The patent leaves these points open, and this module decides them:
- The encoder starts with a frozen network, trained on another data set. X is the features of this network at
  strides 4, 8 and 16, averaged over cells of 16x16 pixels. Raw pixels would be reconstructed well even if they
  show a defect.
- A code has a few numbers for each cell. C is the mean code, with its own numbers for each cell. The decoder
  uses 1x1 convolutions: it turns the numbers of each cell into the features of that cell alone, so the
  Jacobian is block-diagonal.
- Z - C and X^ - X have a Mahalanobis norm in each cell: a direction counts less if good pictures differ more in
  it. L1 is the root mean square of the largest fifth of the norms of Z - C, which detects unusual pictures. L2
  is the root mean square of the largest hundredth of the norms of X^ - X, which detects small defects.
- L2 is relative to how far X^ is from the mean picture: good pictures differ more at bright and rough places.
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

#: Input pixels for each cell of X, along each axis.
CELL = 16
#: Input pixels for each cell of the map, along each axis.
STRIDE = 4
#: Both sides of a picture must be a multiple of this, in pixels.
COARSEST = 32
#: Standard deviations to which the encoder's input is clipped: a few outliers would make INT8's steps coarse.
RARE = 8.0
#: Shares of all cells, those with the largest values, of which L1 and L2 are the means.
GLOBAL, LOCAL = 0.2, 0.01


class AutoencoderError(EdgeError, ValueError):
    """The configuration of an autoencoder has a picture size or number of channels that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """The sizes and options that an autoencoder is built from. The checkpoint stores them with the weights."""

    backbone: str = "efficientnet_lite0"  # a name in `trt_build.backbones.open`
    in_channels: int = 3  # 3 for RGB, or 1 for grey
    height: int = 256
    width: int = 256
    code: int = 8  # numbers in the code of a cell
    hidden: int = 128  # channels between features and codes, in encoder and decoder
    distance: Kind = "mse"
    spectral: bool = False  # divide the decoder's weights by their largest singular values

    @property
    def spec(self) -> InputSpec:
        """The size and the colours of the pictures that the network takes."""
        return InputSpec(height=self.height, width=self.width, color="gray" if self.in_channels == 1 else "rgb")


class Autoencoder(nn.Module):
    """The autoencoder network. It takes pictures `(N, C, H, W)` uint8, RGB or grey, of the configured size.

    `backbone` is the frozen network that computes the features. Without `backbone`, its weights must be loaded
    from a checkpoint later. Raise AutoencoderError if the size or the number of channels does not fit.
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
        """Return scores as `(N,)`, about two for good parts, and anomaly maps as `(N, 1, H/4, W/4)` float32."""
        l1, l2, map_ = self.judge(self.look(image))
        return self.lambdas[0] * l1 + self.lambdas[1] * l2, self.lambdas[1] * map_

    def look(self, image: Tensor) -> Tensor:
        """Return the normalised features of each cell of 16x16 pixels, as `(N, P, H/16, W/16)` float32."""
        levels = self.backbone(image)
        return (torch.cat([self._in_cells(level) for level in levels], 1) - self.mean) * self.scale

    def encode(self, seen: Tensor) -> Tensor:
        """Return the codes of the features that `look` returned, as `(N, config.code, H/16, W/16)` float32."""
        code: Tensor = self.encoder(seen.clamp(-RARE, RARE))
        return code

    def judge(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return L1 and L2 of each picture, `(N,)` each, and a map of the reconstruction error, all float32.

        The map is `(N, 1, H/4, W/4)`. No result is multiplied by a lambda.
        """
        code = self.encode(seen)
        again = self.decoder(code)
        unusual = self.unusual(code - self.centre)
        differing = self._distance(seen, again)
        map_ = F.interpolate(differing.sqrt(), scale_factor=CELL / STRIDE, mode="bilinear")
        return _largest(unusual, GLOBAL).sqrt(), _largest(differing, LOCAL).sqrt(), map_

    @torch.no_grad()
    def fit_features(self, seen: Tensor) -> Tensor:
        """Measure the mean and deviation of `seen`, features of good pictures. Return `seen` normalised."""
        self.mean.copy_(seen.mean((0, 2, 3), keepdim=True))
        self.scale.copy_(seen.var((0, 2, 3), keepdim=True).clamp_min(1e-12).rsqrt())
        return (seen - self.mean) * self.scale

    @torch.no_grad()
    def fit_scale(self, trained: Tensor, held_out: Tensor) -> None:
        """Fit the norms to `trained`, and the lambdas, the weights of L1 and L2 in the score, to `held_out`.

        `trained` holds normalised features of training pictures, `held_out` those of other good pictures.
        """
        code = self.encode(trained)
        self.unusual.fit(code - self.centre)
        self.differing.fit(trained - self.decoder(code))
        l1, l2, _ = self.judge(held_out)
        self.lambdas.copy_(1 / torch.stack((l1.mean(), l2.mean())).clamp_min(1e-12))

    def fold(self) -> Autoencoder:
        """Turn the weights that spectral normalisation computes into plain weights. Return this network."""
        for layer in self.decoder:
            if parametrize.is_parametrized(layer):
                parametrize.remove_parametrizations(layer, "weight")
        return self

    def _in_cells(self, level: Tensor) -> Tensor:
        """Return the mean of `level` over each cell of 16x16 pixels as `(N, C, H/16, W/16)`."""
        per_cell = level.shape[-1] * CELL // self.config.width
        return F.avg_pool2d(level, per_cell) if per_cell > 1 else level

    def _distance(self, seen: Tensor, again: Tensor) -> Tensor:
        """Return the squared distance between features and their reconstruction as `(N, 1, H/16, W/16)`."""
        error = self.differing(seen - again) / (1 + again.square().mean(1, keepdim=True))
        return distance_of(self.config.distance, error, ssim_distance(seen, again))


def _largest(places: Tensor, part: float) -> Tensor:
    """Return the mean of each picture's largest values as `(N,)`. `part` is the share of values that count."""
    values = places.flatten(1)
    return values.topk(max(1, round(part * values.shape[1])), dim=1).values.mean(1)
