"""The epoch of a line: which start of its capture this is, kept on disk."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import LineError


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
        raise LineError(f"{path}: cannot count up the epoch: {error}: part_ids would repeat") from error
    return epoch
