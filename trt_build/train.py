"""A training task and a folder into trained weights: the loop that all models share.

The folder holds one checkpoint, replaced whole after each epoch, so a run that is killed goes on from
its last full epoch and ends with the weights it would have had. `progress.jsonl` beside it gets one
line an epoch.
"""

from __future__ import annotations

import copy
import json
import math
import os
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

CHECKPOINT = "checkpoint.pt"


class Task(Protocol):
    """What is trained: a network, its batches, their loss, and how good the weights are."""

    @property
    def model(self) -> nn.Module: ...

    def batches(self, epoch: int) -> Iterable[Any]:
        """The batches of an epoch, the same ones each time that epoch is asked for; sized with `len`."""

    def loss(self, batch: Any) -> Tensor:
        """The scalar to make smaller, of `model` on a batch."""

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Figures of `model` (averaged weights, evaluation mode) on data kept from training."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train; `rate` is the optimiser's highest, reached after the warm-up."""

    epochs: int
    rate: float = 2e-3
    decay: float = 0.02
    warm_up: float = 0.03  # part of all steps in which the rate rises
    cool_down: float = 0.5  # part of all steps, the last ones, in which it falls to nothing
    average: float = 0.998  # of the running mean of the weights, a step
    check_every: int = 1  # epochs
    seed: int = 0
    bf16: bool = True


def fit(task: Task, folder: Path, config: TrainConfig, *, describe: Mapping[str, Any]) -> int:
    """Trains up to `config.epochs`, from `folder`'s checkpoint on where there is one; epochs done.

    Fewer are done where Ctrl-C ended the run. `describe` is kept in the checkpoint as it is: what is
    needed to build the model again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    model = task.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(model).eval()
    optimiser = torch.optim.AdamW(_groups(model, config.decay), lr=config.rate)
    done = _restore(folder / CHECKPOINT, model, averaged, optimiser)
    with _progress() as progress:
        bar = progress.add_task("", total=config.epochs, completed=done, loss="")
        try:
            for epoch in range(done, config.epochs):
                started = time.monotonic()
                losses = _run_epoch(task, model, averaged, optimiser, config, epoch, progress, bar)
                line: dict[str, Any] = {"epoch": epoch + 1, "loss": round(float(np.mean(losses)), 4)}
                line["rate"] = round(optimiser.param_groups[0]["lr"], 6)
                line["seconds"] = round(time.monotonic() - started, 1)
                if (epoch + 1) % config.check_every == 0 or epoch + 1 == config.epochs:
                    with torch.no_grad():
                        line |= {name: round(value, 4) for name, value in task.check(averaged).items()}
                _save(folder / CHECKPOINT, model, averaged, optimiser, epoch + 1, config, describe)
                done = epoch + 1
                with (folder / "progress.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
                progress.console.print("  ".join(f"{name} {value}" for name, value in line.items()))
        except KeyboardInterrupt:
            progress.console.print(f"stopped; {done} epochs are kept in {folder / CHECKPOINT}")
    return done


def load(path: Path) -> dict[str, Any]:
    """A checkpoint: `weights` (averaged), `describe`, `epoch` and what is needed to go on."""
    loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


def _run_epoch(
    task: Task,
    model: nn.Module,
    averaged: nn.Module,
    optimiser: torch.optim.Optimizer,
    config: TrainConfig,
    epoch: int,
    progress: Progress,
    bar: Any,
) -> list[float]:
    model.train()
    batches = task.batches(epoch)
    steps = len(batches)  # type: ignore[arg-type]
    losses: list[float] = []
    for step, batch in enumerate(batches):
        at = epoch + step / steps
        for group in optimiser.param_groups:
            group["lr"] = config.rate * rate_at(at / config.epochs, config.warm_up, config.cool_down)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            loss = task.loss(batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        _average(averaged, model, min(config.average, (epoch * steps + step + 1) / (epoch * steps + step + 10)))
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(
                f"the loss is {losses[-1]} in epoch {epoch + 1}, step {step + 1}; lower the rate"
            )
        progress.update(bar, completed=at, loss=f"{np.mean(losses[-50:]):.3f}")
    return losses


def rate_at(done: float, warm_up: float, cool_down: float) -> float:
    """Part of the highest rate, for the part `done` of all steps: up, level, and down to nothing."""
    return max(min(done / warm_up if warm_up else 1.0, 1.0, (1 - done) / cool_down if cool_down else 1.0), 1e-3)


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases and the scales of normalisation do not."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


@torch.no_grad()
def _average(averaged: nn.Module, model: nn.Module, keep: float) -> None:
    for mean, now in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, 1 - keep)
        else:
            mean.copy_(now)


def _save(
    path: Path,
    model: nn.Module,
    averaged: nn.Module,
    optimiser: torch.optim.Optimizer,
    epoch: int,
    config: TrainConfig,
    describe: Mapping[str, Any],
) -> None:
    """Writes beside and renames, so that the last good checkpoint outlives a kill or a full disk."""
    state = {
        "epoch": epoch,
        "weights": averaged.state_dict(),
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "random": torch.get_rng_state(),
        "config": asdict(config),
        "describe": dict(describe),
    }
    beside = path.with_suffix(".part")
    with beside.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _restore(path: Path, model: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Epochs done; 0 where there is no checkpoint."""
    if not path.exists():
        return 0
    state = load(path)
    model.load_state_dict(state["model"])
    averaged.load_state_dict(state["weights"])
    optimiser.load_state_dict(state["optimiser"])
    torch.set_rng_state(state["random"])
    return int(state["epoch"])


def _progress() -> Progress:
    """A bar on a terminal; elsewhere only the lines, one an epoch."""
    console = Console(width=None if Console().is_terminal else 200)
    return Progress(
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
