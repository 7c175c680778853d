"""Keeps a row for each process of a line: its id, whether it takes parts, its last heartbeat; and the hold."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..errors import LineError
from ..text import DETAIL_BYTES, fitted
from ..wire import RUN_BYTES
from .arrays import SharedArrays, fence

#: What a part goes through. A line has a process for each, and for capture and preprocess one for each camera.
STAGES = ("capture", "preprocess", "infer", "publish")
#: Longest name of a process, in bytes.
NAME_BYTES = 48

_ROW = np.dtype(
    [
        ("pid", "<i8"),
        ("ready", "<i8"),
        ("ready_ns", "<i8"),  # when the process became ready
        ("beat_ns", "<i8"),  # the process's last heartbeat
        ("failed_ns", "<i8"),  # when the supervisor last found that the process had ended
        ("away_ns", "<i8"),  # for how long nobody did its work in all, because the process had ended
        ("subscriptions", "<i8"),  # of publish: how many it had, which its successor awaits
        ("dropped", "<i8"),  # number of messages that the process refused
        ("ended_ns", "<i8"),  # of publish: when the last capture had ended for good; 0: not yet
    ]
)


class Stages:
    """The processes of a run by name, and the run's number.

    The row of a process is written by this process and by the supervisor.

    `stages[name]` is the row of a process: an array of one element with the fields `pid`, `ready`, `ready_ns`,
    `beat_ns`, `failed_ns`, `away_ns`, `subscriptions`, `dropped` and `ended_ns`.
    """

    def __init__(self, arrays: SharedArrays) -> None:
        self._run, self._rows = arrays["run"], arrays["rows"]
        self._hold, self._why = arrays["hold"], arrays["why"]
        self._places = {bytes(name).decode(): place for place, name in enumerate(arrays["names"])}

    @classmethod
    def create(cls, path: Path, names: Sequence[str]) -> Stages:
        """Create the rows of a new run's processes. Raise LineError if there is not enough memory for them."""
        layout: dict[str, tuple[DTypeLike, tuple[int, ...]]] = {
            "run": (np.uint8, (RUN_BYTES,)),
            "hold": (np.int64, (1,)),
            "why": (f"S{DETAIL_BYTES}", (1,)),
            "names": (f"S{NAME_BYTES}", (len(names),)),
            "rows": (_ROW, (len(names),)),
        }
        values: dict[str, ArrayLike] = {
            "run": np.frombuffer(os.urandom(RUN_BYTES), np.uint8),
            "names": [name.encode() for name in names],
        }
        return cls(SharedArrays.create(path, layout, values))

    @classmethod
    def open(cls, path: Path) -> Stages:
        """Open rows that `create` made. Raise LineError if the file is missing or of another version."""
        arrays = SharedArrays.open(path)
        if not {"rows", "hold"} <= set(arrays) or arrays["rows"].dtype != _ROW:
            raise LineError(f"{path}: the processes of another version of the line")
        return cls(arrays)

    @property
    def run(self) -> bytes:
        """The random number of this run, RUN_BYTES long. Stages refuse messages that carry another number."""
        return self._run.tobytes()

    @property
    def hold(self) -> str:
        """Why the line is held. Then each verdict is `unknown`. Empty if it is not. The supervisor sets it."""
        return bytes(self._why[0]).decode(errors="replace") or "held" if self._hold[0] else ""

    @hold.setter
    def hold(self, why: str) -> None:
        if why:
            self._why[0] = fitted(why, DETAIL_BYTES).encode()
            fence()
        self._hold[0] = bool(why)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __getitem__(self, name: str) -> NDArray[Any]:
        place = self._places[name]
        return self._rows[place : place + 1]
