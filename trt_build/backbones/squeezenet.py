"""SqueezeNet 1.0 (Iandola et al., arXiv 1602.07360) under the names of its published weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SQUEEZED = {
    2: 16,
    3: 16,
    4: 32,
    5: 32,
    6: 48,
    7: 48,
    8: 64,
    9: 64,
}  # channels; a fire gives eight times as many


class SqueezeNet(nn.Module):
    """Images `(N, 3, H, W)` float BGR less the mean colour; stages that end at fire4, fire8 and fire9.

    Their strides are 4, 8 and 16, less a frame of pixels that the unpadded first convolution drops.
    """

    channels = (256, 512, 512)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2)
        before = 96
        for number, squeezed in _SQUEEZED.items():
            for name, inputs, outputs, size in (
                ("conv1x1_1", before, squeezed, 1),
                ("conv1x1_2", squeezed, 4 * squeezed, 1),
                ("conv3x3_2", squeezed, 4 * squeezed, 3),
            ):
                self.add_module(f"fire{number}/{name}", nn.Conv2d(inputs, outputs, size, padding=size // 2))
            before = 8 * squeezed
        self.conv_final = nn.Conv2d(512, 1000, 1)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """Features of stage `index` from those of the one before, or from images for stage 0."""
        if index == 0:
            x = F.relu(self.conv1(x))
        x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
        for number in ((2, 3, 4), (5, 6, 7, 8), (9,))[index]:
            squeezed = self._conv(f"fire{number}/conv1x1_1", x)
            x = torch.cat(
                [self._conv(f"fire{number}/{name}", squeezed) for name in ("conv1x1_2", "conv3x3_2")], 1
            )
        return x

    def classify(self, x: Tensor) -> Tensor:
        """Logits `(N, 1000)` from the last stage."""
        return F.relu(self.conv_final(x)).mean((2, 3))

    def _conv(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(name)(x))
