"""Changes drawings at random, as if other people had drawn them with other pens and other cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

#: Knots along each axis of the smooth fields that bend strokes and remove them.
_KNOTS = 5


@dataclass(frozen=True, kw_only=True)
class Redrawing:
    """How much a drawing may change at random. Lengths are shares of the picture's side."""

    turn_deg: float = 12.0
    scale: float = 0.2  # largest factor is one plus this; the smallest is its inverse
    stretch: float = 0.12  # as `scale`, of one axis against the other, in any direction
    shift: float = 0.08
    bend: float = 0.02  # how far a stroke moves, smoothly over the picture
    thinner: float = 0.3  # 1 removes an outline of one pixel from a stroke
    thicker: float = 0.8  # 1 adds an outline of one pixel to a stroke
    gone: float = 0.0  # probability that some of the strokes are missing


AS_IT_IS = Redrawing(turn_deg=0, scale=0, stretch=0, shift=0, bend=0, thinner=0, thicker=0)

#: For letters that several people have drawn.
LETTERS = Redrawing(turn_deg=10, scale=0.15, stretch=0.1, shift=0.06)

#: For letters whose place and size make no difference, see `Centred`: their slant and proportions vary more.
CENTRED_LETTERS = Redrawing(turn_deg=15, scale=0.15, stretch=0.2, shift=0.06)

#: For products: a photo has edges that nobody drew, a sketch has strokes that are no edges.
PRODUCTS = Redrawing(gone=0.3)

#: The eight symmetries of a square: unchanged, mirrored left to right, and so on; `(8, 2, 2)`.
SYMMETRIES = torch.tensor([[[a, 0], [0, d]] for d in (1, -1) for a in (1, -1)], dtype=torch.float32)
SYMMETRIES = torch.cat((SYMMETRIES, SYMMETRIES.flip(2)))


def redraw(
    pictures: Tensor,
    how: Redrawing,
    generator: torch.Generator,
    *,
    run: Tensor | None = None,
    symmetries: int = 1,
) -> Tensor:
    """Return the pictures `(N, C, H, W)` uint8, dark on light, each changed at random as `how` allows.

    If `run`, `(N,)` integers, is given, pictures are also mirrored or turned, and those with the same integer
    in the same way. The way is chosen among the first `symmetries` ways of `SYMMETRIES`. Thus the letters of an
    alphabet become those of a new one. Pixels from outside the picture become white.
    """
    count, _, height, width = pictures.shape
    bends = _bends(count, how, generator)
    if run is not None:
        runs, member = torch.unique(run, return_inverse=True)
        turned = SYMMETRIES[torch.randint(symmetries, (len(runs),), generator=generator)]
        bends = turned[member] @ bends
    grid = (bends @ _basis(height, width)).transpose(1, 2).view(count, height, width, 2)
    ink = 255.0 - pictures.float()
    ink = F.grid_sample(ink, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    ink = _with_another_pen(ink, how, generator)
    if how.gone:
        ink = ink * _kept(count, height, width, how, generator)
    return (255.5 - ink).clamp_(0, 255).to(torch.uint8)


def side_by_side(left: Tensor, right: Tensor) -> Tensor:
    """Return both pictures side by side at half their width, with strokes as dark as before.

    All pictures are `(N, C, H, W)` uint8, dark on light.
    """
    half = left.shape[3] // 2
    halves = [torch.minimum(side[..., : 2 * half : 2], side[..., 1 : 2 * half : 2]) for side in (left, right)]
    return F.pad(torch.cat(halves, dim=3), (0, left.shape[3] - 2 * half), value=255)


def _bends(count: int, how: Redrawing, generator: torch.Generator) -> Tensor:
    """Return the random weights of the functions of `_basis` as `(N, 2, 3 + knots)`.

    Their weighted sum is the point x, y in -1..1 from which each pixel is taken.
    """
    shift = _uniform((count, 2, 1), 2 * how.shift, generator)
    knots = _normal((count, 2, _KNOTS**2), 2 * how.bend, generator)
    return torch.cat((_affine(count, how, generator), shift, knots), dim=2)


def _affine(count: int, how: Redrawing, generator: torch.Generator) -> Tensor:
    """Return random matrices as `(N, 2, 2)` float32: a rotation, and two scales along random axes."""
    turn = _turn(_uniform((count,), math.radians(how.turn_deg), generator))
    axes = _turn(_uniform((count,), math.pi, generator))
    overall = _uniform((count, 1), math.log1p(how.scale), generator)
    stretch = _uniform((count, 1), math.log1p(how.stretch), generator)
    scales = torch.cat((overall + stretch, overall - stretch), dim=1).exp()
    return turn @ axes @ torch.diag_embed(scales) @ axes.transpose(1, 2)


def _turn(angle: Tensor) -> Tensor:
    """Return the rotation matrices of `angle`, `(N,)` in radians, as `(N, 2, 2)`."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((cos, -sin, sin, cos), dim=1).view(-1, 2, 2)


def _with_another_pen(ink: Tensor, how: Redrawing, generator: torch.Generator) -> Tensor:
    """Return `ink` as `(N, C, H, W)` with wider or narrower strokes. Each edge moves by one pixel at most."""
    width = _uniform((len(ink), 1, 1, 1), 1.0, generator)
    # A stroke gets narrower where its surroundings get wider.
    sign = torch.where(width > 0, 1.0, -1.0)
    part = torch.where(width > 0, width * how.thicker, -width * how.thinner)
    return torch.lerp(ink, sign * _wider(sign * ink), part)


def _wider(ink: Tensor) -> Tensor:
    """Return the highest value among each pixel and its eight neighbours as `(N, C, H, W)`."""
    for dim, around in ((2, (0, 0, 1, 1)), (3, (1, 1, 0, 0))):
        padded = F.pad(ink, around, mode="replicate")
        before, here, after = (padded.narrow(dim, at, ink.shape[dim]) for at in range(3))
        ink = torch.maximum(torch.maximum(before, here), after)
    return ink


def _kept(count: int, height: int, width: int, how: Redrawing, generator: torch.Generator) -> Tensor:
    """Return a mask of the ink as `(N, 1, H, W)`: 1 where ink stays, 0 in a few patches of some pictures."""
    field = _normal((count, _KNOTS**2), 1.0, generator) @ _basis(height, width)[3:]
    some = torch.rand((count, 1), generator=generator) < how.gone
    return ((field < 1.0) | ~some).float().view(count, 1, height, width)


@cache
def _basis(height: int, width: int) -> Tensor:
    """Return x, y, 1 and a smooth bump around each knot, at each pixel, as `(3 + knots, H*W)`."""
    x = (torch.arange(width) * 2 + 1) / width - 1
    y = (torch.arange(height) * 2 + 1) / height - 1
    plane = torch.stack((x.repeat(height), y.repeat_interleave(width), torch.ones(height * width)))
    each = torch.eye(_KNOTS**2).view(-1, 1, _KNOTS, _KNOTS)
    smooth = F.interpolate(each, size=(height, width), mode="bicubic", align_corners=True)
    return torch.cat((plane, smooth.view(_KNOTS**2, -1)))


def _uniform(shape: tuple[int, ...], reach: float, generator: torch.Generator) -> Tensor:
    """Return random numbers of this shape, uniform between -`reach` and `reach`."""
    return (torch.rand(shape, generator=generator) * 2 - 1) * reach


def _normal(shape: tuple[int, ...], spread: float, generator: torch.Generator) -> Tensor:
    """Return normally distributed random numbers of this shape with the standard deviation `spread`."""
    return torch.randn(shape, generator=generator) * spread
