"""The epoch of a line: which start of its capture this is, kept on disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import LineError


def check_epoch(state: Path, line: str) -> None:
    """Raise LineError where the epoch could not be counted up; nothing is left behind."""
    path = state / f"{line}.epoch"
    folder = next(folder for folder in (state, *state.parents) if folder.exists())
    try:
        if path.exists():
            int(path.read_text())
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"1")
    except (OSError, ValueError) as error:
        raise LineError(_words(path, error)) from error


def _words(path: Path, error: OSError | ValueError) -> str:
    said = (
        error.strerror if isinstance(error, OSError) else f"{error}: write into it a number that is high enough"
    )
    return f"{path}: cannot count up the epoch: {said}: part_ids would repeat"


def next_epoch(state: Path, line: str) -> int:
    """Count up the epoch, on disk first, so that no part_id ever comes twice."""
    path = state / f"{line}.epoch"
    try:
        epoch = int(path.read_text()) + 1 if path.exists() else 1
        new = path.with_suffix(".new")
        with open(new, "w") as file:
            file.write(str(epoch))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except (OSError, ValueError) as error:
        raise LineError(_words(path, error)) from error
    return epoch
