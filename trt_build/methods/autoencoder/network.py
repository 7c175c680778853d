"""Defines the autoencoder, which scores a picture by how unusual its code is and how badly it is reconstructed.

The method is that of JP 7735801 B2 (Denso). An encoder turns the features X of a picture into a code Z, and a
decoder turns Z into X^, which should equal X. The score is lambda1 L1 + lambda2 L2. L1 is a norm of Z - C,
where C is the centre of the codes of good pictures. L2 is a distance between X^ and X. Each lambda is one
divided by the mean of its L on good pictures that were not used for training. `train.py` trains the encoder and
the decoder.

The patent leaves these points open, and this package decides them:
- X is the features of a frozen network (`features.py`), or the picture itself less the mean picture
  (`pixels.py`). Features detect more: raw pixels are often reconstructed well even if they show a defect.
- C is the mean code. With features, C has its own numbers for each cell of the picture.
- Z - C has a Mahalanobis norm: a direction counts less if good pictures differ more in it. L1 is the root mean
  square of all cells' norms, which detects pictures that are unusual as a whole.
- L2 is the root mean square of the largest hundredth of the cells' distances, which detects small defects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge.errors import EdgeError
from edge.manifest import InputSpec
from trt_build.backbones.open import Backbone, build_backbone
from trt_build.methods.autoencoder import features, pixels, spectral
from trt_build.methods.autoencoder.features import CELL
from trt_build.methods.good_parts.distance import Deviation, Kind

#: Input pixels for each cell of the map, along each axis.
STRIDE = pixels.STRIDE
#: Both sides of a picture must be a multiple of this, in pixels.
COARSEST = 32
#: Standard deviations to which the encoder's input is clipped: a few outliers would make INT8's steps coarse.
RARE = 8.0
#: Pictures that are judged at once where many are judged, to save memory.
AT_ONCE = 32
#: Share of all cells, those with the largest distances, of which L2 is the mean.
LOCAL = 0.01


class AutoencoderError(EdgeError, ValueError):
    """The configuration of an autoencoder cannot be used. The text says what was expected."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """The sizes and options that an autoencoder is built from. The checkpoint stores them with the weights."""

    input: Literal["features", "pixels"] = "features"  # what is encoded and decoded
    backbone: str = "efficientnet_lite0"  # computes the features; a name in `trt_build.backbones.open`
    in_channels: int = 3  # 3 for RGB, or 1 for grey
    height: int = 256
    width: int = 256
    code: int = 8  # numbers in the code: of each cell of features, or of a whole picture of pixels
    hidden: int = 128  # channels between features and codes, or at the coarsest cells of pixels
    decoder_layers: int = 2  # convolutions in the decoder
    distance: Kind = "mse"
    spectral: bool = False  # divide the decoder's weights by their largest singular values

    @property
    def spec(self) -> InputSpec:
        """The size and the colours of the pictures that the network takes."""
        return InputSpec(height=self.height, width=self.width, color="gray" if self.in_channels == 1 else "rgb")


#: The sizes that suit an autoencoder of pixels.
PIXELS = AutoencoderConfig(input="pixels", code=128, decoder_layers=6)


class Autoencoder(nn.Module):
    """The autoencoder network. It takes pictures `(N, C, H, W)` uint8, RGB or grey, of the configured size.

    `backbone` is the frozen network that computes the features. Without `backbone`, its weights must be loaded
    from a checkpoint later. Raise AutoencoderError if the configuration cannot be used.

    P is the number of values in a cell of X, h and w the number of its cells. A cell has 16x16 pixels if X is
    features, or one pixel if X is the picture itself. Likewise there are h x w codes, or only one.
    """

    def __init__(self, config: AutoencoderConfig, backbone: Backbone | None = None) -> None:
        super().__init__()
        _check(config)
        self.config = config
        self.backbone: Backbone | None = None
        hidden, code, layers = config.hidden, config.code, config.decoder_layers
        if config.input == "features":
            self.backbone = backbone or build_backbone(config.backbone)
            seen, codes = sum(self.backbone.channels), (config.height // CELL, config.width // CELL)
            self.encoder = features.encoder(seen, hidden=hidden, code=code)
            self.decoder = features.decoder(seen, hidden=hidden, code=code, layers=layers)
            self.distance: features.FeatureDistance | pixels.PixelDistance = features.FeatureDistance(
                config.distance, seen
            )
            growth, mean = seen / code, (seen, 1, 1)
        else:
            seen, codes = config.in_channels, (1, 1)
            mean = shape = (seen, config.height, config.width)
            self.encoder = pixels.encoder(*shape, hidden=hidden, code=code)
            self.decoder = pixels.decoder(*shape, hidden=hidden, code=code, layers=layers)
            self.distance = pixels.PixelDistance(config.distance, config.height, config.width)
            growth = math.prod(shape) / code
        if config.spectral:
            self.decoder = spectral.normalised(self.decoder, growth=growth)
        self.mean: Tensor
        self.scale: Tensor
        self.centre: Tensor
        self.lambdas: Tensor
        self.register_buffer("mean", torch.zeros(1, *mean))
        self.register_buffer("scale", torch.ones(1, seen, 1, 1))
        self.register_buffer("centre", torch.zeros(code, *codes))
        self.register_buffer("lambdas", torch.ones(2))
        self.unusual = Deviation(code)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores as `(N,)`, about two for good parts, and anomaly maps as `(N, 1, H/4, W/4)` float32."""
        l1, l2, map_ = self.judge(self.look(image))
        return self.lambdas[0] * l1 + self.lambdas[1] * l2, self.lambdas[1] * map_

    def look(self, image: Tensor) -> Tensor:
        """Return X, the normalised features or pixels, as `(N, P, h, w)` float32."""
        if self.backbone is None:
            seen = image.to(self.mean.dtype)
        else:
            seen = features.in_cells(self.backbone(image), self.config.width)
        return (seen - self.mean) * self.scale

    def encode(self, seen: Tensor) -> Tensor:
        """Return the codes of what `look` returned, as `(N, config.code, h, w)` or `(N, config.code, 1, 1)`."""
        code: Tensor = self.encoder(seen.clamp(-RARE, RARE))
        return code

    def judge(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return L1 and L2 of each picture, `(N,)` each, and a map of the reconstruction error, all float32.

        `seen` is what `look` returned. The map is `(N, 1, H/4, W/4)`. No result is multiplied by a lambda.
        """
        code = self.encode(seen)
        again = self.decoder(code)
        unusual = self.unusual(code - self.centre)
        differing = self.distance(seen, again)
        map_ = differing.sqrt()
        if self.config.input == "features":
            map_ = F.interpolate(map_, scale_factor=CELL / STRIDE, mode="bilinear")
        return unusual.mean((1, 2, 3)).sqrt(), _largest(differing).sqrt(), map_

    @torch.no_grad()
    def fit_features(self, seen: Tensor) -> Tensor:
        """Measure the mean and the deviation of `seen`, X of good pictures. Return `seen` normalised."""
        self.mean.copy_(seen.mean((0, 2, 3) if self.config.input == "features" else 0, keepdim=True))
        seen = seen - self.mean
        self.scale.copy_(seen.square().mean((0, 2, 3), keepdim=True).clamp_min(1e-12).rsqrt())
        return seen * self.scale

    @torch.no_grad()
    def fit_scale(self, trained: Tensor, held_out: Tensor) -> None:
        """Fit the norms to `trained`, and the lambdas, the weights of L1 and L2 in the score, to `held_out`.

        `trained` is X of training pictures, `held_out` that of other good pictures.
        """
        code = self.codes(trained)
        self.unusual.fit(code - self.centre)
        self.distance.fit(trained, torch.cat([self.decoder(some) for some in torch.split(code, AT_ONCE)]))
        l1, l2 = self.two_scores(held_out)
        self.lambdas.copy_(1 / torch.stack((l1.mean(), l2.mean())).clamp_min(1e-12))

    @torch.no_grad()
    def codes(self, seen: Tensor) -> Tensor:
        """Return what `encode` does, computed for a few pictures at a time, without gradients."""
        return torch.cat([self.encode(some) for some in torch.split(seen, AT_ONCE)])

    @torch.no_grad()
    def two_scores(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return L1 and L2 as `judge` does, computed for a few pictures at a time, without gradients."""
        l1, l2, _ = zip(*(self.judge(some) for some in torch.split(seen, AT_ONCE)), strict=True)
        return torch.cat(l1), torch.cat(l2)

    def fold(self) -> Autoencoder:
        """Turn the weights that spectral normalisation computes into plain weights. Return this network."""
        spectral.fold(self.decoder)
        return self


def _check(config: AutoencoderConfig) -> None:
    """Raise AutoencoderError if a network cannot be built from the configuration."""
    if config.height % COARSEST or config.width % COARSEST or config.in_channels not in (1, 3):
        raise AutoencoderError(
            f"expected sides that are multiples of {COARSEST} and 1 or 3 channels, "
            f"found {config.width}x{config.height} and {config.in_channels}"
        )
    least, most = pixels.LAYERS if config.input == "pixels" else features.LAYERS
    if not least <= config.decoder_layers <= most:
        raise AutoencoderError(
            f"--decoder-layers: expected {least} to {most} if the input is {config.input}, "
            f"found {config.decoder_layers}"
        )


def _largest(places: Tensor) -> Tensor:
    """Return the mean of each picture's largest values as `(N,)`."""
    values = places.flatten(1)
    return values.topk(max(1, round(LOCAL * values.shape[1])), dim=1).values.mean(1)
