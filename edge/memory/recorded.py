"""Counts in shared memory what the recorder wrote, and what it could not keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .arrays import SharedArrays

COUNTS = "recorder"
#: The kinds of files that the recorder writes.
FILES = ("pictures", "boxes")
#: Why a picture or a black box was not written. overwritten: the slot was leased again before the copy.
#: busy: the writer was behind. full: the disk had no room or failed. rate: the recipe allows no more files.
NOT_WRITTEN = ("overwritten", "busy", "full", "rate")
NAMES = (*FILES, *NOT_WRITTEN, "is_full")


class Recorded:
    """The recorder's counts in shared memory, which outlive its process. Only the recorder writes them.

    `pictures` and `boxes` count files that were written. The names in NOT_WRITTEN count what was not written.
    `is_full` is 1 while nothing can be written.
    """

    def __init__(self, arrays: SharedArrays) -> None:
        self._counts = {name: arrays[name] for name in NAMES}

    @classmethod
    def create(cls, folder: Path) -> Recorded:
        """Make the counts of the run in `folder`. Raise LineError if there is no memory for them."""
        return cls(SharedArrays.create(folder / COUNTS, {name: (np.int64, (1,)) for name in NAMES}))

    @classmethod
    def open(cls, folder: Path) -> Recorded:
        """Open the counts of the run in `folder`. Raise LineError if there are none."""
        return cls(SharedArrays.open(folder / COUNTS))

    def __getitem__(self, name: str) -> int:
        return int(self._counts[name][0])

    def __setitem__(self, name: str, value: int) -> None:
        self._counts[name][0] = value

    def all(self) -> dict[str, int]:
        """Return the counts by their names."""
        return {name: self[name] for name in NAMES}
