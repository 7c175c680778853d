"""A decoder and a point into the squared Frobenius norm of its Jacobian there, exact or by random projection.

JP 7735801 B2 keeps a decoder smooth by this norm at the centre of the codes. The projections follow
Hoffman et al., arXiv 1908.02729. A code has far fewer numbers than a picture, so the forward form, which
projects the codes, varies far less than the reverse form, which projects the pictures.

`decode` takes codes `(N, *centre.shape)`, each by itself, and answers with numbers `(N, ...)`. All forms
can be differentiated by the decoder's weights; none of them knows what made the centre.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp

Decode = Callable[[Tensor], Tensor]


def exact(decode: Decode, centre: Tensor, *, by_place: bool = False) -> Tensor:
    """The norm itself, from as many directions as the centre has numbers.

    `by_place` says that each place of a centre `(K, H, W)` is decoded into outputs of its own, as by 1x1
    convolutions: then the columns of one channel's places do not overlap and K directions are enough.
    """
    if by_place:
        places = [1] * (centre.ndim - 1)
        directions = torch.eye(len(centre)).reshape(-1, len(centre), *places)
    else:
        directions = torch.eye(centre.numel()).reshape(-1, *centre.shape)
    return _pushed(decode, centre, directions).square().sum()


def forward_projected(decode: Decode, centre: Tensor, *, count: int) -> Tensor:
    """K times the mean of |J u|^2 over `count` directions u, uniform on the sphere of K numbers."""
    directions = _sphere(count, tuple(centre.shape))
    norm: Tensor = _pushed(decode, centre, directions).square().sum() * (centre.numel() / count)
    return norm


def reverse_projected(decode: Decode, centre: Tensor, *, count: int) -> Tensor:
    """M times the mean of |v J|^2 over `count` directions v, uniform on the sphere of M numbers."""
    at = centre.detach().expand(count, *centre.shape).clone().requires_grad_()
    output = decode(at)
    directions = _sphere(count, tuple(output.shape[1:]))
    (pulled,) = torch.autograd.grad(output, at, directions, create_graph=True)
    norm: Tensor = pulled.square().sum() * (output[0].numel() / count)
    return norm


def _pushed(decode: Decode, centre: Tensor, directions: Tensor) -> Tensor:
    """J u for each direction u."""
    at = centre.detach().repeat(len(directions), *[1] * centre.ndim)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit, which jvp itself uses
        pushed: Tensor = jvp(decode, (at,), (directions.expand_as(at).contiguous(),))[1]
    return pushed


def _sphere(count: int, shape: tuple[int, ...]) -> Tensor:
    """`(count, *shape)`: directions of length one, uniform."""
    directions = torch.randn(count, *shape)
    lengths: Tensor = directions.flatten(1).square().sum(1).sqrt()
    return directions / lengths.reshape(count, *[1] * len(shape))
