"""Reads and writes the checkpoint of a training. A kill or a full disk leaves the previous checkpoint whole."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from edge.errors import EdgeError

#: The files in a training's folder: the checkpoint, and one line of JSON for each epoch.
CHECKPOINT, PROGRESS = "checkpoint.pt", "progress.jsonl"


class TrainingError(EdgeError, RuntimeError):
    """The error that is raised if a training cannot start or continue. The text says why and what to do."""


class CheckpointError(EdgeError, ValueError):
    """The error that is raised if a file is no checkpoint, or if its checkpoint belongs to another model."""


def load(path: Path) -> dict[str, Any]:
    """Return a checkpoint. Raise CheckpointError if the file is not a checkpoint.

    A checkpoint holds the averaged `weights`, the network's configuration (`describe`), the number of trained
    epochs (`epoch`), and what a training needs to continue.
    """
    try:
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return {key: loaded[key] for key in loaded.keys() | {"weights", "describe", "epoch"}}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (EOFError, RuntimeError, ValueError, LookupError, AttributeError, UnpicklingError) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint, or cut short: expected the {CHECKPOINT} that a training wrote"
        ) from error


def check_same(path: Path, state: Mapping[str, Any], describe: Mapping[str, Any]) -> None:
    """Raise CheckpointError if the checkpoint `state`, read from `path`, is of a network of another sort."""
    if state["describe"] != describe:
        raise CheckpointError(
            f"{path}: of another training: expected {_told(describe)}, found {_told(state['describe'])}: "
            "train in another folder, or take it out of this one"
        )


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint to a temporary file and rename it. A kill or a full disk keeps the previous one.

    Raise TrainingError if the file cannot be written.
    """
    # Saved to memory first, because torch.save does not say why a file cannot be written.
    whole = io.BytesIO()
    torch.save(dict(state), whole)
    beside = path.with_suffix(".part")
    try:
        with writing(path), beside.open("wb") as file:
            file.write(whole.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise TrainingError if the code in the `with` block cannot write the file at `path`."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be written: {error.strerror}: make room, then train again: it goes on from the "
            "last epoch that was kept"
        ) from error


def _told(describe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a network's configuration for a message: of a long text, such as a picture, its SHA-256 alone."""
    return {
        key: hashlib.sha256(value.encode()).hexdigest()[:8]
        if isinstance(value, str) and len(value) > 80
        else value
        for key, value in describe.items()
    }
