"""Makes the optimiser of a training from groups of weights that learn by themselves, and sets its rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

Kind = Literal["adamw", "adam", "sgd"]


@dataclass(frozen=True, kw_only=True)
class Group:
    """A part of a network that learns by itself: no other part changes its steps or shortens its gradient."""

    module: nn.Module
    rate: float = 1.0  # its learning rate, as a share of the training's


def optimiser_of(groups: Sequence[Group], kind: Kind, rate: float, decay: float) -> torch.optim.Optimizer:
    """Return the optimiser for all weights that are not frozen. It treats each weight by itself.

    With `adamw`, biases and norm scales have no weight decay. `sgd`, with a momentum of 0.9, and `adam` decay
    all weights by adding to their gradients, as the papers do that use them.
    """
    settings = []
    for group in groups:
        trained = [p for p in group.module.parameters() if p.requires_grad]
        shaped, flat = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
        settings.append({"params": shaped, "weight_decay": decay, "share": group.rate})
        of_flat = 0.0 if kind == "adamw" else decay
        settings.append({"params": flat, "weight_decay": of_flat, "share": group.rate})
    if kind == "sgd":
        return torch.optim.SGD(settings, lr=rate, momentum=0.9)
    return (torch.optim.Adam if kind == "adam" else torch.optim.AdamW)(settings, lr=rate)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of each group to its share of `rate`."""
    for settings in optimiser.param_groups:
        settings["lr"] = rate * settings["share"]


def rate_at(done: float, warm_up: float, cool_down: float) -> float:
    """Return the learning rate as a share of the highest rate. It rises, stays level, and falls to 0.001.

    All parameters are shares of all steps: those done, those in which the rate rises, those in which it falls.
    """
    return max(min(done / warm_up if warm_up else 1.0, 1.0, (1 - done) / cool_down if cool_down else 1.0), 1e-3)
