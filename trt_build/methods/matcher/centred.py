"""Moves the ink of a picture to the middle and scales it, so that all drawings have the same place and size.

This is the moment normalisation of Casey (1970, IBM Journal of Research and Development 14, 5) without its
rotation and shear. It is a part of the network, and so of the exported graph. Two matrix products resample the
picture, because every engine computes these.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Standard deviation of the ink's position afterwards, where the picture is from -1 to 1.
SPREAD = 0.42
#: The part of the picture that fills the result, as a factor of each side. A dot is not enlarged without limit.
_LEAST, _MOST = 0.25, 1.5
#: While training, the standard deviation of a random error of the middle, as a share of the part that is seen,
#: and of the logarithm of the scale. Another hand's letter never has quite the same middle and size.
_ERROR = 0.06


class Centred(nn.Module):
    """Lays the ink `(N, C, size, size)` float32, 0 for blank, into a square `(N, C, side, side)`.

    The mean position of the ink comes to the middle. Each axis is scaled by the geometric mean of two standard
    deviations: the ink's along this axis, and its root mean square over both axes. Thus a long letter becomes
    less long, but not square. Ink from outside the picture is blank. While training, place and size have small
    random errors.
    """

    _before: Tensor  # centres of the pixels of the picture, -1 to 1
    _after: Tensor  # of the square

    def __init__(self, size: int, side: int) -> None:
        super().__init__()
        self.size, self.side = size, side
        self.register_buffer("_before", _centres(size), persistent=False)
        self.register_buffer("_after", _centres(side), persistent=False)

    def forward(self, ink: Tensor) -> Tensor:
        """Return the ink in the middle of the square, see the class."""
        shade = ink.mean(dim=1)
        whole = shade.sum(dim=(1, 2)).clamp_min(1e-3)
        (row, height), (column, width) = (self._moments(shade.sum(dim=dim), whole) for dim in (2, 1))
        both = ((height.square() + width.square()) / 2).sqrt()
        rows, columns = (
            self._resampling(*self._seen(middle, own, both)) for middle, own in ((row, height), (column, width))
        )
        return rows[:, None] @ ink @ columns[:, None].transpose(2, 3)

    def _moments(self, ink: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean position of the ink `(N, size)` along an axis, and its standard deviation, `(N,)`."""
        share = ink / whole[:, None]
        mean = (share * self._before).sum(dim=1)
        spread = (share * (self._before - mean[:, None]).square()).sum(dim=1).sqrt()
        return mean, spread

    def _seen(self, middle: Tensor, own: Tensor, both: Tensor) -> tuple[Tensor, Tensor]:
        """Return the middle of the part of an axis that is seen, and its length as a factor, each `(N,)`."""
        scale = ((own * both).sqrt() / SPREAD).clamp(_LEAST, _MOST)
        if not self.training:
            return middle, scale
        shift, growth = _ERROR * torch.randn(2, *scale.shape, device=scale.device)
        return middle + shift * scale, scale * growth.exp()

    def _resampling(self, middle: Tensor, scale: Tensor) -> Tensor:
        """Return the share of each pixel before in each pixel after, along an axis, as `(N, side, size)`.

        The shares of a pixel after have a sum of 1 and fall linearly with the distance. They reach as far as
        the larger of both pixels, so that no ink falls between.
        """
        at = middle[:, None] + scale[:, None] * self._after
        reach = (scale * self.size / self.side).clamp_min(1.0)[:, None, None]
        pixels = (at[:, :, None] - self._before).abs() * (self.size / 2)
        shares = F.relu(1 - pixels / reach)
        # Outside the picture there are no pixels before.
        return shares / shares.sum(dim=2, keepdim=True).clamp_min(1.0)


def _centres(count: int) -> Tensor:
    """Return the centres of `count` equal parts of -1 to 1, as `(count,)` float32."""
    return (torch.arange(count) * 2 + 1) / count - 1
