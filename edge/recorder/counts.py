"""Counts, in a file of the run's folder, what the recorder wrote and what it could not keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..memory.arrays import SharedArrays

COUNTS = "recorder"
#: overwritten: the slot was leased again before the frame was copied. busy: the writer was behind. full: there
#: was no room on the disk, or it failed. rate: more black boxes than the recipe allows.
LOST = ("overwritten", "busy", "full", "rate")
_NAMES = ("pictures", "boxes", *LOST, "is_full")


class Counts:
    """The recorder's counts in shared memory, which outlive its process. Only the recorder writes them.

    `pictures` and `boxes` count files that were written. The names in LOST count what was not, and say why.
    `is_full` is 1 while nothing can be written.
    """

    def __init__(self, folder: Path) -> None:
        """Open the counts of the run in `folder`, or make them. Raise LineError if there is no memory."""
        path = folder / COUNTS
        if path.exists():
            arrays = SharedArrays.open(path)
        else:
            arrays = SharedArrays.create(path, {name: (np.int64, (1,)) for name in _NAMES})
        self._counts = {name: arrays[name] for name in _NAMES}

    def __getitem__(self, name: str) -> int:
        return int(self._counts[name][0])

    def __setitem__(self, name: str, value: int) -> None:
        self._counts[name][0] = value
