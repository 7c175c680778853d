"""Counts up a line's epoch at each start of its capture, so that no part_id ever comes twice."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from ..errors import LineError


def check_epoch(state: Path, line: str) -> None:
    """Raise LineError where `next_epoch` would; leave nothing behind."""
    path = state / f"{line}.epoch"
    folder = next(folder for folder in (state, *state.parents) if folder.exists())
    try:
        if path.exists():
            int(path.read_text())
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"1")
    except (OSError, ValueError) as error:
        raise _error(path, error) from error


def _error(path: Path, error: OSError | ValueError) -> LineError:
    why = (
        error.strerror if isinstance(error, OSError) else f"{error}: delete it, and epochs go on from the clock"
    )
    return LineError(f"{path}: cannot count up the epoch: {why}: part_ids would repeat")


def next_epoch(state: Path, line: str) -> int:
    """Return the next epoch, which is on disk by then: one more than the last, and at least the clock's second.

    Two sources are needed: the disk may lose the epoch or get an old copy back, and the clock may be set back.
    Raises LineError where the epoch cannot be read or written.
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
            # Without this, a power cut may take the new name back.
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, ValueError) as error:
        raise _error(path, error) from error
    return epoch
