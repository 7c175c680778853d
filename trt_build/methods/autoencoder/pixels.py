"""Builds an encoder and a decoder of pixels, with one code for the whole picture.

The encoder halves the picture five times and turns the cells of 32x32 pixels that remain into the code. The
decoder turns the code into such cells, and each of them into smaller ones, down to pixels. A cell is decoded by
itself: its parts do not overlap, so a layer's largest singular value is that of its matrix, and so the decoder
has few multiplications. One code for the whole picture is narrow enough: with a code for each cell of 32x32
pixels, the network also reconstructs defects that it never saw.

The distance between a picture and its reconstruction is relative to the usual distance of good pictures at the
same place, which is large at the edges of parts, for example.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trt_build.methods.good_parts.distance import Kind, distance_of

#: Input pixels for each of the coarsest cells, along each axis.
CELL = 32
#: Input pixels for each cell of the distances, along each axis.
STRIDE = 4
#: Windows of cells over which a distance and the usual distance are averaged.
WINDOW, USUAL_WINDOW = 3, 5
#: Share of the mean usual distance that is added to each, so that none is close to zero.
FLOOR = 0.1
#: Pictures whose distances are computed at once, to save memory.
AT_ONCE = 32
#: Least number of channels between two layers.
LEAST_CHANNELS = 16
#: Least and greatest number of layers of a decoder: from the code to cells, and then at most five doublings.
LAYERS = (2, 6)


def encoder(colours: int, height: int, width: int, *, hidden: int, code: int) -> nn.Sequential:
    """Return an encoder from a picture `(N, colours, height, width)` to its code `(N, code, 1, 1)`."""
    layers: list[nn.Module] = []
    before = colours
    for stride in (2, 4, 8, 16, 32):
        after = _channels(stride, hidden)
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        before = after
    return _prepared(nn.Sequential(*layers, nn.Conv2d(before, code, (height // CELL, width // CELL))))


def decoder(colours: int, height: int, width: int, *, hidden: int, code: int, layers: int) -> nn.Sequential:
    """Return a decoder from a code `(N, code, 1, 1)` to its picture `(N, colours, height, width)`.

    `layers` is the number of convolutions. With fewer layers, each makes its cells smaller by a larger factor.
    """
    rows, columns = height // CELL, width // CELL
    spread = nn.Conv2d(code, hidden * rows * columns, 1)
    made: list[nn.Module] = [spread, nn.Flatten(), nn.Unflatten(1, (hidden, rows, columns)), nn.ReLU()]
    before, stride = hidden, CELL
    for factor in _factors(layers - 1):
        stride //= factor
        after = colours if stride == 1 else _channels(stride, hidden)
        made += [nn.Conv2d(before, after * factor**2, 1), nn.PixelShuffle(factor), nn.ReLU()]
        before = after
    return _prepared(nn.Sequential(*made[:-1]))


def _channels(stride: int, hidden: int) -> int:
    """Return the number of channels at a stride: `hidden` at the coarsest, half of it at each finer one."""
    return max(LEAST_CHANNELS, hidden * stride // CELL)


def _factors(count: int) -> list[int]:
    """Return `count` powers of two whose product is 32, the largest first."""
    doublings = int(math.log2(CELL))
    return [2 ** (doublings // count + (i < doublings % count)) for i in range(count)]


def _prepared(layers: nn.Sequential) -> nn.Sequential:
    """Give the convolutions random weights with which values stay of the same size (He et al., 1502.01852)."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return layers


class PixelDistance(nn.Module):
    """Measures the squared distance between a picture and its reconstruction in each cell of 4x4 pixels.

    It is divided by the usual distance of good pictures there. Until `fit` is called, that is one.
    """

    def __init__(self, kind: Kind, height: int, width: int) -> None:
        super().__init__()
        self._kind: Kind = kind
        self.usual: Tensor
        self.register_buffer("usual", torch.ones(1, 1, height // STRIDE, width // STRIDE))

    def forward(self, seen: Tensor, again: Tensor) -> Tensor:
        """Return distances `(N, 1, H/4, W/4)` of pictures `(N, C, H, W)` and reconstructions, all float32."""
        return _blurred(self._distance(seen, again), WINDOW) / self.usual

    @torch.no_grad()
    def fit(self, seen: Tensor, again: Tensor) -> None:
        """Measure the usual distance of good pictures `seen` and their reconstructions `again`."""
        pairs = zip(torch.split(seen, AT_ONCE), torch.split(again, AT_ONCE), strict=True)
        mean = torch.cat([self._distance(*pair) for pair in pairs]).mean(0, keepdim=True)
        self.usual.copy_(_blurred(mean, USUAL_WINDOW) + FLOOR * mean.mean().clamp_min(1e-12))

    def _distance(self, seen: Tensor, again: Tensor) -> Tensor:
        error = (seen - again).square().mean(1, keepdim=True)
        return F.avg_pool2d(distance_of(self._kind, error, seen, again), STRIDE)


def _blurred(cells: Tensor, window: int) -> Tensor:
    """Return the mean of the window around each cell, in the shape `(N, 1, h, w)` of `cells`."""
    return F.avg_pool2d(cells, window, 1, window // 2, count_include_pad=False)
