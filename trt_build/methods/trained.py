"""Loads a trained network from a checkpoint, and finds the method that trained it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from trt_build.methods.base import Method
from trt_build.methods.checkpoint import CheckpointError, load
from trt_build.methods.table import METHODS, method_of


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network in evaluation mode, with its method, its configuration and its number of epochs."""

    method: Method
    network: nn.Module
    config: dict[str, Any]
    epochs: int
    tiles: tuple[int, int] = (1, 1)  # columns and rows of inputs into which its parts were cut
    ignored: str | None = None  # PNG, in base64, of the mask that the network learned with


def load_trained(checkpoint: Path, expected: str | None = None) -> Trained:
    """Return the trained network in a checkpoint file.

    Raise CheckpointError if the method is unknown, is not `expected`, or if the weights do not fit its network.
    """
    state = load(checkpoint)
    name = state["describe"].get("model")
    if expected not in (None, name):
        raise CheckpointError(f"{checkpoint}: expected a checkpoint of the method {expected}, found {name!r}")
    if name not in METHODS:
        raise CheckpointError(f"{checkpoint}: of a model {name!r}; known are {', '.join(METHODS)}")
    method = method_of(name)
    try:
        config = state["describe"]["config"]
        network = method.build(config)
        network.load_state_dict(state["weights"])
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{checkpoint}: not the weights of the method {name}: {error}") from error
    columns, rows = state["describe"].get("tiles", (1, 1))
    return Trained(
        method=method,
        network=network.eval(),
        config=config,
        epochs=state["epoch"],
        tiles=(columns, rows),
        ignored=state["describe"].get("ignored"),
    )
