"""Computes the squared Frobenius norm of a decoder's Jacobian at a point, exactly or by random projection.

JP 7735801 B2 keeps a decoder smooth with this norm at the centre of the codes. The projections follow Hoffman
et al., arXiv 1908.02729. A code has far fewer numbers than a picture. The forward form, which projects codes,
therefore varies far less than the reverse form, which projects pictures.

`decode` takes codes `(N, *centre.shape)` float32, each independent of the others, and returns `(N, ...)`
float32. All forms return a scalar that can be differentiated by the decoder's weights, but not by the centre.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp

Decode = Callable[[Tensor], Tensor]


def exact(decode: Decode, centre: Tensor, *, by_place: bool = False) -> Tensor:
    """Return the exact norm, from as many directions as the centre has numbers.

    `by_place` says that each place of a centre `(K, H, W)` is decoded into outputs of its own, as 1x1
    convolutions do. Then the columns of one channel's places do not overlap, and K directions are enough.
    """
    if by_place:
        places = [1] * (centre.ndim - 1)
        directions = torch.eye(len(centre)).reshape(-1, len(centre), *places)
    else:
        directions = torch.eye(centre.numel()).reshape(-1, *centre.shape)
    return _pushed(decode, centre, directions).square().sum()


def forward_projected(decode: Decode, centre: Tensor, *, count: int) -> Tensor:
    """Return K times the mean of |J u|^2 over `count` directions u, uniform on the sphere of K numbers."""
    directions = _sphere(count, tuple(centre.shape))
    norm: Tensor = _pushed(decode, centre, directions).square().sum() * (centre.numel() / count)
    return norm


def reverse_projected(decode: Decode, centre: Tensor, *, count: int) -> Tensor:
    """Return M times the mean of |v J|^2 over `count` directions v, uniform on the sphere of M numbers."""
    at = centre.detach().expand(count, *centre.shape).clone().requires_grad_()
    output = decode(at)
    directions = _sphere(count, tuple(output.shape[1:]))
    (pulled,) = torch.autograd.grad(output, at, directions, create_graph=True)
    norm: Tensor = pulled.square().sum() * (output[0].numel() / count)
    return norm


def _pushed(decode: Decode, centre: Tensor, directions: Tensor) -> Tensor:
    """Return J u, `(N, ...)`, for each direction u of `(N, *centre.shape)`."""
    at = centre.detach().repeat(len(directions), *[1] * centre.ndim)
    with warnings.catch_warnings():
        # jvp itself uses torch.jit, which is deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        pushed: Tensor = jvp(decode, (at,), (directions.expand_as(at).contiguous(),))[1]
    return pushed


def _sphere(count: int, shape: tuple[int, ...]) -> Tensor:
    """Return uniform directions of length one, `(count, *shape)` float32."""
    directions = torch.randn(count, *shape)
    lengths: Tensor = directions.flatten(1).square().sum(1).sqrt()
    return directions / lengths.reshape(count, *[1] * len(shape))
