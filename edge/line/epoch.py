"""The epoch of a line: rises with each start of its capture, so that no part_id ever comes twice."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from ..errors import LineError


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
        error.strerror if isinstance(error, OSError) else f"{error}: delete it, and epochs go on from the clock"
    )
    return f"{path}: cannot count up the epoch: {said}: part_ids would repeat"


def next_epoch(state: Path, line: str) -> int:
    """The next epoch, on disk before it is used: one more than the last, and at least the clock's second.

    The disk alone may lose it, with its folder or to an old copy; the clock alone may be set back.
    """
    path = state / f"{line}.epoch"
    try:
        last = int(path.read_text()) if path.exists() else 0
        epoch = max(last + 1, int(time.time()))
        new = path.with_suffix(".new")
        with open(new, "w") as file:
            file.write(str(epoch))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # else a power cut may take the new name back
        finally:
            os.close(folder)
    except (OSError, ValueError) as error:
        raise LineError(_words(path, error)) from error
    return epoch
