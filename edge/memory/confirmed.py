"""Holds the verdict that each subscriber confirmed last, written by the replay process for the supervisor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import LineError
from .arrays import SharedArrays

#: Name of the file in the run's folder.
CONFIRMED = "confirmed"
#: Longest name of a subscriber, in bytes.
NAME_BYTES = 31

_ROW = np.dtype([("name", f"S{NAME_BYTES}"), ("number", "<i8"), ("at_ns", "<i8"), ("due_ns", "<i8")])


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What a subscriber has confirmed of this run. Times are 0 where there is nothing to name."""

    number: int  # it has handled all verdicts up to this number
    at_ns: int  # time of its last confirmation
    due_ns: int  # publication of the oldest verdict that it has not confirmed


class Confirmed:
    """The confirmations of one run, by the names of the subscribers that have to confirm."""

    def __init__(self, arrays: SharedArrays) -> None:
        self._rows = arrays["rows"]
        self._places = {bytes(name).decode(): place for place, name in enumerate(self._rows["name"])}

    @classmethod
    def create(cls, path: Path, names: Sequence[str]) -> Confirmed:
        """Create the file of a new run. Raise LineError if it exists or if there is not enough memory."""
        rows = np.zeros(len(names), _ROW)
        rows["name"] = [name.encode() for name in names]
        return cls(SharedArrays.create(path, {"rows": (_ROW, rows.shape)}, {"rows": rows}))

    @classmethod
    def open(cls, path: Path) -> Confirmed:
        """Open a file that `create` made. Raise LineError if it is missing or of another version."""
        arrays = SharedArrays.open(path)
        if list(arrays) != ["rows"] or arrays["rows"].dtype != _ROW:
            raise LineError(f"{path}: the confirmations of another version of the line")
        return cls(arrays)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __getitem__(self, name: str) -> Confirmation:
        row = self._rows[self._places[name]]
        return Confirmation(number=int(row["number"]), at_ns=int(row["at_ns"]), due_ns=int(row["due_ns"]))

    def __setitem__(self, name: str, confirmation: Confirmation) -> None:
        row = self._rows[self._places[name]]
        row["number"], row["at_ns"] = confirmation.number, confirmation.at_ns
        row["due_ns"] = confirmation.due_ns
