"""Scores a picture by how far a pre-trained network's features lie from those of good parts at the same place.

This follows PaDiM (Defard et al., arXiv 2011.08785): a Gaussian for each place of the picture, and the
Mahalanobis distance as anomaly map. Nothing is trained by gradients, so it takes seconds, and few good parts
are enough. It suits parts that lie the same way in each picture. Three things differ from the paper:

- Each covariance is shrunk towards that of all places together, and has a low rank (`places.py`). The paper
  chooses 100 channels at random, and adds 0.01 to the variances.
- The features at strides 4, 8 and 16 are brought to a grid of stride 8. The paper's grid has stride 4.
- The distance is squared, and the score is the mean of the highest cells. The paper takes the root, smooths the
  map, and takes the maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge.manifest import InputSpec
from trt_build.backbones.open import Backbone, build_backbone
from trt_build.methods.gaussian.places import Gaussians
from trt_build.methods.good_parts.maps import MapScale

#: Input pixels from one place to the next, along each axis.
STRIDE = 8


@dataclass(frozen=True, kw_only=True)
class GaussianConfig:
    """The configuration of the network. The checkpoint holds it together with the numbers."""

    backbone: str = "efficientnet_lite2"  # a name in `trt_build.backbones.open`
    height: int = 256  # size of a picture, in pixels, multiples of 32
    width: int = 256
    rank: int = 32  # directions of each place's covariance that are kept

    @property
    def spec(self) -> InputSpec:
        """The size and colour of the network's input pictures."""
        return InputSpec(height=self.height, width=self.width, color="rgb")


class Gaussian(nn.Module):
    """Takes pictures as `(N, 3, H, W)` uint8 RGB, and gives a score and an anomaly map for each.

    The backbone gets its weights from `backbone` or later from a checkpoint. Call `fit` with good parts.
    """

    def __init__(self, config: GaussianConfig, backbone: Backbone | None = None) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone or build_backbone(config.backbone)
        places = (config.height // STRIDE) * (config.width // STRIDE)
        channels = sum(self.backbone.channels)
        self.gaussians = Gaussians(channels, places, min(config.rank, channels - 1))
        self.highest = MapScale(1, smoothings=0)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score as `(N,)` and the anomaly map as `(N, 1, H/8, W/8)`, both float32."""
        score, map_ = self.highest([self.gaussians(self.look(image))])
        return score, map_

    def look(self, image: Tensor) -> Tensor:
        """Return the backbone's features at strides 4, 8 and 16, together, as `(N, C, H/8, W/8)` float32."""
        four, eight, sixteen = self.backbone(image)
        coarse = F.interpolate(sixteen, scale_factor=2.0, mode="bilinear")
        return torch.cat([F.avg_pool2d(four, 2), eight, coarse], dim=1)
