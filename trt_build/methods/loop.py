"""The training loop that all methods share: it trains a task's network in a folder.

The folder holds one checkpoint, which is replaced whole after each epoch. A killed run therefore goes on from
its last full epoch, and ends with the same weights as without the kill. `progress.jsonl` beside the checkpoint
gets one line for each epoch.
"""

from __future__ import annotations

import copy
import io
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from edge.engines.processor import computes_bfloat16
from edge.errors import EdgeError
from trt_build.terminal.console import console
from trt_build.terminal.interrupt import keeping_ctrl_c
from trt_build.terminal.progress import working

CHECKPOINT, PROGRESS = "checkpoint.pt", "progress.jsonl"


class Batches(Protocol):
    """The batches of an epoch: a list, or batches that are made one by one."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class Task(Protocol):
    """What is trained: a network, its batches, their loss, and figures of its quality."""

    @property
    def model(self) -> nn.Module: ...

    def batches(self, epoch: int) -> Batches:
        """Return the batches of an epoch; an epoch always has the same batches."""

    def loss(self, batch: Any) -> Tensor:
        """Return the scalar that training makes smaller, float32."""

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Return figures of `model` on held-out data; it has the averaged weights, in evaluation mode."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train. `rate` is the optimiser's highest learning rate, reached after the warm-up."""

    epochs: int
    optimiser: Literal["adamw", "sgd"] = "adamw"  # sgd has Nesterov's momentum of 0.9
    rate: float = 2e-3
    decay: float = 0.02
    warm_up: float = 0.03  # share of all steps, the first ones, in which the rate rises
    cool_down: float = 0.5  # share of all steps, the last ones, in which the rate falls to zero
    average: float = 0.998  # weight of the old mean in the running mean of the weights, at each step
    check_every: int = 1  # epochs
    seed: int = 0
    #: Compute in bfloat16 where the CPU supports it; emulated, it takes several times as long as float32.
    bf16: bool = True


def fit(task: Task, folder: Path, config: TrainConfig, *, describe: Mapping[str, Any]) -> int:
    """Train up to `config.epochs`, from the folder's checkpoint on if there is one; return the epochs done.

    `describe` is what is needed to build the model again; the checkpoint holds it unchanged. Raise
    TrainingError, which says what to change. The last checkpoint stays then, as it does after Ctrl-C.
    """
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    run = _Run(task, config, describe)
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
            line = run.epoch(epoch, tell)
            run.save(folder / CHECKPOINT, epoch + 1)
            with _writing(folder / PROGRESS), (folder / PROGRESS).open("a") as log:
                log.write(json.dumps(line) + "\n")
            console.print("  ".join(f"{name} {value}" for name, value in line.items()))
            stop_if_asked()
    return max(done, config.epochs)


class TrainingError(EdgeError, RuntimeError):
    """A training that cannot begin or go on; the text says why and what to do."""


class CheckpointError(EdgeError, ValueError):
    """A file that is no checkpoint, or a checkpoint of another model; the text names the file."""


def load(path: Path) -> dict[str, Any]:
    """Return a checkpoint: averaged `weights`, `describe`, `epoch`, and what a training needs to go on."""
    try:
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return {key: loaded[key] for key in loaded.keys() | {"weights", "describe", "epoch"}}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (EOFError, RuntimeError, ValueError, LookupError, AttributeError, UnpicklingError) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint, or cut short: expected the {CHECKPOINT} that a training wrote"
        ) from error


class _Run:
    """The model in training, the running mean of its weights, and its optimiser.

    torch's AveragedModel would give other weights: its first update copies the model, where `_average` keeps a
    tenth of the initial weights.
    """

    def __init__(self, task: Task, config: TrainConfig, describe: Mapping[str, Any]) -> None:
        self._task, self._config, self._describe = task, config, dict(describe)
        self._model = task.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._averaged = copy.deepcopy(self._model).eval()
        self._optimiser = _optimiser(self._model, config)
        self._bf16 = config.bf16 and computes_bfloat16()

    def epoch(self, epoch: int, tell: Callable[[int, int, float], object]) -> dict[str, float]:
        """Train for one epoch and return its line of progress; after each step tell epoch, step and loss."""
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
        if (epoch + 1) % self._config.check_every == 0 or epoch + 1 == self._config.epochs:
            with torch.no_grad():
                line |= {name: round(value, 4) for name, value in self._task.check(self._averaged).items()}
        return line

    def save(self, path: Path, epochs: int) -> None:
        """Write beside the checkpoint and rename, so that a kill or a full disk leaves the last good one.

        Raise TrainingError where it cannot be written.
        """
        state = {
            "epoch": epochs,
            "weights": self._averaged.state_dict(),
            "model": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "config": asdict(self._config),
            "describe": self._describe,
        }
        # Into memory first, because torch.save does not say why a file cannot be written.
        whole = io.BytesIO()
        torch.save(state, whole)
        beside = path.with_suffix(".part")
        try:
            with _writing(path), beside.open("wb") as file:
                file.write(whole.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def restore(self, path: Path) -> int:
        """Go on from a checkpoint and return its epochs, 0 if there is none.

        Raise CheckpointError for the checkpoint of another training.
        """
        if not path.exists():
            return 0
        state = load(path)
        if state["describe"] != self._describe:
            raise CheckpointError(
                f"{path}: of another training: expected {self._describe}, found {state['describe']}: "
                "train in another folder, or take it out of this one"
            )
        self._model.load_state_dict(state["model"])
        self._averaged.load_state_dict(state["weights"])
        self._optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
        return int(state["epoch"])

    def _step(self, batch: Any, done: float) -> float:
        """Take one step of the optimiser, after the share `done` of all steps, and return the loss."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._config.rate * rate_at(done, self._config.warm_up, self._config.cool_down)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            loss = self._task.loss(batch)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), 10.0)
        self._optimiser.step()
        return loss.item()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise TrainingError for a file that cannot be written."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be written: {error.strerror}: make room, then train again: it goes on from the "
            "last epoch that was kept"
        ) from error


def rate_at(done: float, warm_up: float, cool_down: float) -> float:
    """Return the share of the highest rate after the share `done` of all steps: up, level, and down to zero."""
    return max(min(done / warm_up if warm_up else 1.0, 1.0, (1 - done) / cool_down if cool_down else 1.0), 1e-3)


def _optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser of the weights that are not frozen; biases and norm scales do not decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=config.rate)


@torch.no_grad()
def _average(averaged: nn.Module, model: nn.Module, keep: float) -> None:
    """Move the averaged weights and statistics towards the model's, with the weight `keep` on the old ones."""
    for mean, now in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, 1 - keep)
        else:
            mean.copy_(now)
