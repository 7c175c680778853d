"""Computes the squared Frobenius norm of a decoder's Jacobian at one code, exactly or by random projection.

A code is an input of the decoder. The Jacobian J holds the derivative of each of the M numbers of the output by
each of the K numbers of a code. JP 7735801 B2 keeps the decoder smooth with this norm at the centre of the
codes. Random projections follow Hoffman et al., arXiv 1908.02729. `forward_projected` varies far less than
`reverse_projected`, because a code has far fewer numbers than an output.

`centre` is one code. `decode` takes codes `(N, *centre.shape)` float32 and returns `(N, ...)` float32, each
output from its own code only. All results are scalars, with gradients for the decoder's weights only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp

Decode = Callable[[Tensor], Tensor]
#: Directions that are decoded at once by `exact`, to save memory.
AT_ONCE = 16


def exact(decode: Decode, centre: Tensor, *, by_place: bool = False) -> Tensor:
    """Return the exact squared norm of the decoder's Jacobian at the code `centre`, as a scalar.

    `by_place` promises that `centre` is `(C, H, W)` and that each place is decoded by itself, as 1x1
    convolutions do. In this case, C directions are enough, instead of C times H times W.
    """
    if by_place:
        places = [1] * (centre.ndim - 1)
        directions = torch.eye(len(centre)).reshape(-1, len(centre), *places)
    else:
        directions = torch.eye(centre.numel()).reshape(-1, *centre.shape)
    norms = [_pushed(decode, centre, some).square().sum() for some in torch.split(directions, AT_ONCE)]
    return torch.stack(norms).sum()


def forward_projected(decode: Decode, centre: Tensor, *, count: int) -> Tensor:
    """Estimate the squared norm of the Jacobian J as K times the mean of |J u|^2, a scalar.

    The mean is over `count` random directions u of length one. K is the number of values in a code.
    """
    directions = _sphere(count, tuple(centre.shape))
    norm: Tensor = _pushed(decode, centre, directions).square().sum() * (centre.numel() / count)
    return norm


def reverse_projected(decode: Decode, centre: Tensor, *, count: int) -> Tensor:
    """Estimate the squared norm of the Jacobian J as M times the mean of |v J|^2, a scalar.

    The mean is over `count` random directions v of length one. M is the number of values in an output.
    """
    at = centre.detach().expand(count, *centre.shape).clone().requires_grad_()
    output = decode(at)
    directions = _sphere(count, tuple(output.shape[1:]))
    (pulled,) = torch.autograd.grad(output, at, directions, create_graph=True)
    norm: Tensor = pulled.square().sum() * (output[0].numel() / count)
    return norm


def _pushed(decode: Decode, centre: Tensor, directions: Tensor) -> Tensor:
    """Return J u for each direction u in `directions`, as `(N, ...)` float32. J is the Jacobian at `centre`."""
    at = centre.detach().repeat(len(directions), *[1] * centre.ndim)
    with warnings.catch_warnings():
        # jvp itself uses torch.jit, which is deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        pushed: Tensor = jvp(decode, (at,), (directions.expand_as(at).contiguous(),))[1]
    return pushed


def _sphere(count: int, shape: tuple[int, ...]) -> Tensor:
    """Return `count` uniformly distributed random directions of length one as `(count, *shape)` float32."""
    directions = torch.randn(count, *shape)
    lengths: Tensor = directions.flatten(1).square().sum(1).sqrt()
    return directions / lengths.reshape(count, *[1] * len(shape))
