"""Frozen convolutions made to compute as their INT8 graph will: what is trained on them knows its rounding.

INT8 has 127 steps either side of zero, for the weights of each output channel and for all that goes into a
convolution, as in `trt_build/quantize.py`. A network that others trained can lose much by that; what is trained
on its features should see what the engine will see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

STEPS = 127


@torch.no_grad()
def round_weights(network: nn.Module) -> None:
    """Put all convolutions' weights on the grid of INT8; rounding them again changes nothing."""
    for _, convolution in _convolutions(network):
        weight = convolution.weight
        step = weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12) / STEPS
        weight.copy_((weight / step).round() * step)


def input_ranges(network: nn.Module, run: Callable[[], object]) -> dict[str, float]:
    """The largest magnitude that goes into each convolution while `run` is called."""
    ranges = {name: 0.0 for name, _ in _convolutions(network)}

    def widen(name: str, x: Tensor) -> None:
        ranges[name] = max(ranges[name], float(x.abs().max()))

    with _looking(network, widen):
        run()
    return ranges


@contextmanager
def rounded_inputs(network: nn.Module, ranges: Mapping[str, float]) -> Iterator[None]:
    """As long as this lasts, what goes into each convolution is rounded as INT8 rounds what has that range."""

    def rounded(name: str, x: Tensor) -> Tensor:
        step = max(ranges[name], 1e-12) / STEPS
        return (x / step).round().clamp(-STEPS, STEPS) * step

    with _looking(network, rounded):
        yield


@contextmanager
def _looking(network: nn.Module, look: Callable[[str, Tensor], Tensor | None]) -> Iterator[None]:
    """Shows `look` what goes into each convolution, by its name; what it returns goes in instead."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], Any]:
        return lambda _, inputs: look(name, inputs[0])

    with ExitStack() as hooks:
        for name, convolution in _convolutions(network):
            hooks.callback(convolution.register_forward_pre_hook(hook(name)).remove)
        yield


def _convolutions(network: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
