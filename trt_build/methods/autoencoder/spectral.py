"""Divides the weights of a layer by their largest singular value, so that the layer lengthens no difference.

This is the spectral normalisation of JP 7735801 B2 and of Miyato et al., arXiv 1802.05957. They estimate the
singular value with one step of power iteration for each training step. The estimate would be too low for the
averaged weights of a checkpoint, so here the value is computed exactly each time. The matrices are small.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class _UnitNorm(nn.Module):
    """Computes the weights of a layer from its trained weights."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / largest_singular_value(weight.flatten(1))


def largest_singular_value(matrix: Tensor) -> Tensor:
    """Return the largest singular value of a matrix `(M, K)` as a scalar, with a gradient for the matrix."""
    with torch.no_grad():
        narrow = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
        strongest = torch.linalg.eigh(narrow @ narrow.T).eigenvectors[:, -1]
    pulled: Tensor = matrix @ strongest if matrix.shape[0] > matrix.shape[1] else strongest @ matrix
    return pulled.square().sum().sqrt()


class Gain(nn.Module):
    """Multiplies its input by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self._factor


def normalised(layers: nn.Sequential, *, growth: float) -> nn.Sequential:
    """Return the layers, with convolutions that now compute weights whose largest singular value is 1.

    The matrix of a convolution is `(outputs, inputs)`. If its kernel is 1x1, the convolution lengthens no
    difference. `growth` is the number of values that the layers return, divided by the number that they take:
    the first layer multiplies by its root. Otherwise their outputs would have a smaller root mean square than
    their inputs, since there are more of them. The weights begin orthogonal: all their singular values are
    equal. Among random ones most would be far smaller than the largest, and so would all outputs.
    """
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.orthogonal_(layer.weight)
            parametrize.register_parametrization(layer, "weight", _UnitNorm())
    return nn.Sequential(Gain(growth**0.5), *layers)


def fold(layers: nn.Sequential) -> None:
    """Turn the weights that `normalised` layers compute into plain weights with the same values."""
    for layer in layers:
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")
