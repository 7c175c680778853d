"""Trains a network and keeps one checkpoint in a folder. All methods use this training loop.

The checkpoint is replaced as a whole after each epoch. If a training is killed, the next training continues
from the last complete epoch and ends with the same weights as an uninterrupted training. The file
`progress.jsonl` beside the checkpoint gets one line for each epoch.
"""

from __future__ import annotations

import copy
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from edge.engines.processor import computes_bfloat16
from trt_build.methods.checkpoint import (
    CHECKPOINT,
    PROGRESS,
    TrainingError,
    check_same,
    load,
    write_checkpoint,
    writing,
)
from trt_build.methods.optimiser import Group, Kind, optimiser_of, rate_at, set_rate
from trt_build.terminal.console import console
from trt_build.terminal.interrupt import keeping_ctrl_c
from trt_build.terminal.progress import working

#: A figure is flat if it has been no lower for this many epochs.
FLAT = 10


class Batches(Protocol):
    """The batches of one epoch: a list, or an object that makes the batches one by one."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class Task(Protocol):
    """What a method gives to the training loop: a network, its batches, the loss, and quality figures."""

    @property
    def model(self) -> nn.Module: ...

    def batches(self, epoch: int) -> Batches:
        """Return the batches of the epoch with this number. The same number always gives the same batches."""

    def loss(self, batch: Any) -> Tensor:
        """Return the loss of a batch as a float32 scalar. Training makes the loss smaller."""

    def settle(self, model: nn.Module) -> None:
        """Compute all that `model` derives from its weights, such as the scale of its scores.

        `model` has the averaged weights and is in evaluation mode. It is settled before each checkpoint, so
        that a training that is stopped exports a correct model too.
        """

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Return quality figures by name. `model` is settled."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training. `rate` is the highest learning rate, which is reached after the warm-up."""

    epochs: int
    optimiser: Kind = "adamw"
    rate: float = 2e-3
    decay: float = 0.02
    warm_up: float = 0.03  # share of all steps, at the start, in which the rate rises
    cool_down: float = 0.5  # share of all steps, at the end, in which the rate falls
    clip: float = 10.0  # largest norm of a group's gradient; a longer gradient is shortened to it
    average: float = 0.998  # weight of the old mean in the running mean of the weights, at each step
    check_every: int = 1  # epochs between two calls of `Task.check`
    #: A figure of `Task.check`: the checkpoint keeps the weights of the epoch in which it was lowest.
    keep_lowest: str | None = None
    #: Epochs after which the training stops once that figure has been no lower for `FLAT` epochs.
    stop_from: int | None = None
    seed: int = 0
    #: Compute in bfloat16 if the CPU supports it. Emulated bfloat16 is several times slower than float32.
    bf16: bool = True


def fit(
    task: Task,
    folder: Path,
    config: TrainConfig,
    *,
    describe: Mapping[str, Any],
    groups: Sequence[Group] = (),
) -> int:
    """Train until the network has had `config.epochs` epochs in all, and return its number of epochs.

    If `folder` has a checkpoint, continue from it: its epochs count too. `describe` is the network's
    configuration. It is stored in the checkpoint, so that the network can be built again. `groups` are the
    parts of the network that learn by themselves; without any, the whole network is one group. If training
    fails, raise TrainingError and keep the checkpoint.
    """
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    run = _Run(task, config, describe, groups or [Group(module=task.model)])
    done = run.restore(folder / CHECKPOINT)
    steps = len(task.batches(done)) if done < config.epochs else 0
    if done < config.epochs and not steps:
        raise TrainingError(f"{folder}: not trained: the pictures to train with do not fill a batch: give more")
    folder.mkdir(parents=True, exist_ok=True)
    total = config.epochs * steps
    with working("training", total, done=done * steps, unit="step") as show, keeping_ctrl_c() as stop_if_asked:

        def tell(epoch: int, step: int, loss: float) -> None:
            where = f"epoch {epoch + 1} of {config.epochs}, step {step + 1} of {steps}, loss {loss:.3f}"
            show(completed=epoch * steps + step + 1, where=where)
            stop_if_asked()

        for epoch in range(done, config.epochs):
            if run.is_flat(epoch):
                console.print(f"stopped: {config.keep_lowest} has been no lower for {FLAT} epochs")
                break
            line = run.epoch(epoch, tell)
            run.save(folder / CHECKPOINT, epoch + 1)
            with writing(folder / PROGRESS), (folder / PROGRESS).open("a") as log:
                log.write(json.dumps(line) + "\n")
            console.print("  ".join(f"{name} {value}" for name, value in line.items()))
            done = epoch + 1
            stop_if_asked()
    return done


class _Run:
    """Holds the model in training, the running mean of its weights, and its optimiser.

    torch's AveragedModel is not used: its first update copies the model, but `_average` keeps a tenth of the
    initial weights, so the mean would have other weights.
    """

    def __init__(
        self, task: Task, config: TrainConfig, describe: Mapping[str, Any], groups: Sequence[Group]
    ) -> None:
        self._task, self._config, self._describe = task, config, dict(describe)
        self._model = task.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._averaged = copy.deepcopy(self._model).eval()
        self._groups = groups
        self._optimiser = optimiser_of(groups, config.optimiser, config.rate, config.decay)
        self._lowest, self._lowest_at = math.inf, 0  # the lowest figure `keep_lowest`, and its epoch
        self._kept: dict[str, Tensor] | None = None  # the weights with the lowest figure `keep_lowest`
        self._bf16 = config.bf16 and computes_bfloat16()

    def epoch(self, epoch: int, tell: Callable[[int, int, float], object]) -> dict[str, float]:
        """Train for one epoch and return its figures. After each step, call `tell(epoch, step, loss)`."""
        started = time.monotonic()
        self._model.train()
        batches = self._task.batches(epoch)
        losses: list[float] = []
        for step, batch in enumerate(batches):
            done = epoch + step / len(batches)
            losses.append(self._step(batch, done / self._config.epochs))
            if not math.isfinite(losses[-1]):
                where = f"in epoch {epoch + 1}, step {step + 1}"
                raise TrainingError(f"the loss is {losses[-1]} {where}; lower the rate")
            steps = epoch * len(batches) + step
            _average(self._averaged, self._model, min(self._config.average, (steps + 1) / (steps + 10)))
            tell(epoch, step, float(np.mean(losses[-50:])))
        line = {"epoch": epoch + 1, "loss": round(float(np.mean(losses)), 4)}
        line["rate"] = round(self._optimiser.param_groups[0]["lr"], 6)
        line["seconds"] = round(time.monotonic() - started, 1)
        with torch.no_grad():
            self._task.settle(self._averaged)
            if (epoch + 1) % self._config.check_every == 0 or epoch + 1 == self._config.epochs:
                figures = self._task.check(self._averaged)
                self._keep_lowest(figures, epoch + 1)
                line |= {name: round(value, 4) for name, value in figures.items()}
        return line

    def save(self, path: Path, epochs: int) -> None:
        """Write the checkpoint. Raise TrainingError if the file cannot be written."""
        state = {
            "epoch": epochs,
            "weights": self._kept or self._averaged.state_dict(),
            "lowest": self._lowest,
            "lowest_at": self._lowest_at,
            "model": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "config": asdict(self._config),
            "describe": self._describe,
        }
        if self._kept is not None:
            state["averaged"] = self._averaged.state_dict()
        write_checkpoint(path, state)

    def restore(self, path: Path) -> int:
        """Load a checkpoint into the model and return its number of epochs. Return 0 if there is no checkpoint.

        Raise CheckpointError if the checkpoint is of another training.
        """
        if not path.exists():
            return 0
        state = load(path)
        check_same(path, state, self._describe)
        self._model.load_state_dict(state["model"])
        self._averaged.load_state_dict(state.get("averaged", state["weights"]))
        # Earlier checkpoints have neither.
        self._lowest, self._lowest_at = state.get("lowest", math.inf), state.get("lowest_at", 0)
        self._kept = state["weights"] if "averaged" in state else None
        self._optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
        return int(state["epoch"])

    def is_flat(self, epochs: int) -> bool:
        """Return whether the training stops after this number of epochs, see `TrainConfig.stop_from`."""
        start = self._config.stop_from
        return start is not None and epochs >= max(start, self._lowest_at + FLAT)

    def _keep_lowest(self, figures: Mapping[str, float], epochs: int) -> None:
        """Keep the weights of this epoch if the figure that the configuration names is the lowest so far."""
        name = self._config.keep_lowest
        if name is not None and figures[name] < self._lowest:
            self._lowest, self._lowest_at = figures[name], epochs
            self._kept = {key: value.clone() for key, value in self._averaged.state_dict().items()}

    def _step(self, batch: Any, done: float) -> float:
        """Train on one batch and return its loss. `done` is the share of all steps done so far, 0 to 1."""
        rate = self._config.rate * rate_at(done, self._config.warm_up, self._config.cool_down)
        set_rate(self._optimiser, rate)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            loss = self._task.loss(batch)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for group in self._groups:
            nn.utils.clip_grad_norm_(group.module.parameters(), self._config.clip)
        self._optimiser.step()
        return loss.item()


@torch.no_grad()
def _average(averaged: nn.Module, model: nn.Module, keep: float) -> None:
    """Move the averaged weights towards the model's weights. `keep`, 0 to 1, is the share of the old mean.

    The statistics of batch norms are averaged too. Other buffers are not: a task derives them from the weights.
    """
    means = dict(averaged.named_parameters()) | _statistics(averaged)
    for name, now in (dict(model.named_parameters()) | _statistics(model)).items():
        means[name].lerp_(now, 1 - keep)


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    """Return the running means and variances of the batch norms by their names."""
    return {
        name: buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))
    }
