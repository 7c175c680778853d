"""A training of one second, in a module that a process of its own can import."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import torch

from trt_build.methods.loop import TrainConfig, fit


class Line:
    """A task of one second: learn y = 2 x + 1; `die_at` kills the process in that epoch."""

    def __init__(self, die_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(1, 1)
        self._die_at = die_at

    def batches(self, epoch: int) -> list[torch.Tensor]:
        if epoch == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return list(torch.rand(20, 8, 1, generator=torch.Generator().manual_seed(epoch)))

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        noise = torch.randn_like(batch) * 0.01  # draws from the global state, as dropout does
        return (self.model(batch + noise) - 2 * batch - 1).square().mean()

    def settle(self, model: torch.nn.Module) -> None:
        """Nothing is derived from the weights."""

    def check(self, model: torch.nn.Module) -> Mapping[str, float]:
        return {"at_one": float(model(torch.ones(1, 1)))}


CONFIG = TrainConfig(epochs=6, rate=0.1, bf16=False)


def run(folder: Path, die_at: int | None = None) -> None:
    fit(Line(die_at), folder, CONFIG, describe={"model": "line"})
