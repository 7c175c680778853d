"""Keeps the epoch, a number that rises at each start of a line's capture, so that no part_id comes twice."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from ..errors import LineError
from .durable import replace_durably


def check_epoch(state: Path, line: str) -> None:
    """Raise LineError if `next_epoch` cannot read or write the epoch in the folder `state`. Change nothing."""
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
    """Return the line's next epoch, after writing the epoch to a file in the folder `state`.

    The next epoch is the last one plus 1, or the clock's time in seconds if that is higher. Two sources are
    needed: the disk may lose the epoch or get an old copy back, and the clock may be set back. Raises LineError
    if the epoch cannot be read or written.
    """
    path = state / f"{line}.epoch"
    try:
        last = int(path.read_text()) if path.exists() else 0
        epoch = max(last + 1, int(time.time()))
        replace_durably(path, str(epoch).encode())
    except (OSError, ValueError) as error:
        raise _error(path, error) from error
    return epoch
