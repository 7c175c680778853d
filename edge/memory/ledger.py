"""The ledger: a row for each part that was captured, kept until its verdict is out.

It belongs to the supervisor and outlives every stage. Each counter has one writer: capture enters parts,
publish records and publishes verdicts. A part is entered before any of its pixels move; a verdict is
recorded before it is sent, so a publisher that is killed in between sends the same one again.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import DTypeLike

from ..errors import LineError
from ..messages import SOURCE_REF_BYTES, VIEW_BYTES, Part
from ..text import fitted
from ..wire import RUN_BYTES
from .arrays import SharedArrays, fence

ROWS = 2048
RECORD_BYTES = 8192
STAGES = ("capture", "preprocess", "infer", "publish")

_ROW = np.dtype(
    [
        ("entry", "<i8"),
        ("epoch", "<i8"),
        ("sequence", "<i8"),
        ("captured_ns", "<i8"),
        ("captured_at_ns", "<i8"),
        ("deadline_ns", "<i8"),
        ("slot", "<i8"),
        ("generation", "<i8"),
        ("skipped", "<i8"),
        ("recorded", "<i8"),  # bytes of the recorded verdict; 0: none yet
        ("recorded_ns", "<i8"),
        ("camera", "S32"),
        ("view", f"S{VIEW_BYTES}"),
        ("source_ref", f"S{SOURCE_REF_BYTES}"),
    ]
)
_TEXTS = {name: _ROW[name].itemsize for name in ("camera", "view", "source_ref")}
_OF_PART = tuple(name for name in _ROW.names or () if name not in ("recorded", "recorded_ns"))
_STAGE = np.dtype(
    [
        ("pid", "<i8"),
        ("ready", "<i8"),
        ("ready_ns", "<i8"),  # since when
        ("beat_ns", "<i8"),  # the last sign of life
        ("failed_ns", "<i8"),  # when its supervisor last found it ended
        ("dropped", "<i8"),  # messages that were none
    ]
)
_CAPTURED, _PUBLISHED, _EPOCH, _RUN, _SETTLED = 0, 8, 16, 24, 32  # a cache line apart


_LAYOUT: dict[str, tuple[DTypeLike, tuple[int, ...]]] = {
    "counters": (np.int64, (40,)),
    "stages": (_STAGE, (len(STAGES),)),
    "rows": (_ROW, (ROWS,)),
    "records": (np.uint8, (ROWS, RECORD_BYTES)),
}


class Ledger:
    """Rows by number of the part, the verdicts recorded for them, and the stages' signs of life."""

    def __init__(self, arrays: SharedArrays) -> None:
        self._counters = arrays["counters"]
        self._rows = arrays["rows"]
        self._records = arrays["records"]
        self.stages = {name: arrays["stages"][i : i + 1] for i, name in enumerate(STAGES)}

    @classmethod
    def create(cls, path: Path) -> Ledger:
        arrays = SharedArrays.create(path, _LAYOUT)
        arrays["counters"][_RUN : _RUN + 1] = np.frombuffer(os.urandom(RUN_BYTES), np.int64)
        return cls(arrays)

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """The ledger that `create` made; LineError where there is none, or one of another version."""
        arrays = SharedArrays.open(path)
        if {name: (arrays[name].dtype, arrays[name].shape) for name in arrays} != {
            name: (np.dtype(dtype), shape) for name, (dtype, shape) in _LAYOUT.items()
        }:
            raise LineError(f"{path}: the ledger of another version of the line")
        return cls(arrays)

    @property
    def run(self) -> bytes:
        """The number that this run drew, RUN_BYTES of it; no message of another run is about a part in here."""
        return self._counters[_RUN : _RUN + 1].tobytes()

    @property
    def epoch(self) -> int:
        """Which start of capture this is; set by the supervisor before it starts capture."""
        return int(self._counters[_EPOCH])

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._counters[_EPOCH] = value

    @property
    def captured(self) -> int:
        """How many parts have been entered."""
        return int(self._counters[_CAPTURED])

    @property
    def published(self) -> int:
        """How many parts have their verdict; it is the first ones, since verdicts come in order."""
        return int(self._counters[_PUBLISHED])

    @property
    def full(self) -> bool:
        return self.captured - self.published >= ROWS

    def enter(self, part: Part) -> Part:
        """Enter the next part; from here on it will get exactly one verdict.

        Returns it as it stands here: texts that are longer than their place are cut with an ellipsis.
        """
        if part.entry != self.captured or self.full:
            raise ValueError(
                f"part {part.part_id} does not follow entry {self.captured}, or the ledger is full"
            )
        part = msgspec.structs.replace(
            part, **{k: fitted(getattr(part, k), most) for k, most in _TEXTS.items()}
        )
        fields = {**msgspec.structs.asdict(part), "recorded": 0, "recorded_ns": 0}
        fields |= {name: fields[name].encode() for name in _TEXTS}
        self._rows[part.entry % ROWS] = tuple(fields[name] for name in _ROW.names or ())
        fence()
        self._counters[_CAPTURED] = part.entry + 1
        return part

    def part(self, entry: int) -> Part:
        """The part that was entered with this number and is not overwritten yet."""
        if not 0 <= self.captured - entry - 1 < ROWS:
            raise ValueError(f"entry {entry} is not in the ledger")
        fields = dict(zip(_ROW.names or (), self._rows[entry % ROWS].item(), strict=True))
        for name in _TEXTS:
            fields[name] = fields[name].decode(errors="replace")  # a row that is just being used again
        return Part(**{name: fields[name] for name in _OF_PART})

    def holds(self, part: Part) -> bool:
        """Whether this, in every field, is a part that was entered and is not overwritten yet."""
        return 0 <= self.captured - part.entry - 1 < ROWS and self.part(part.entry) == part

    def last_sequence(self, epoch: int) -> int:
        """The sequence number of the part entered last, 0 if that was in another epoch or never."""
        if not self.captured:
            return 0
        row = self._rows[(self.captured - 1) % ROWS]
        return int(row["sequence"]) if int(row["epoch"]) == epoch else 0

    def record(self, entry: int, verdict: bytes, now_ns: int) -> None:
        """Write a part's verdict down, once and for all; only for the next part to be published."""
        if entry != self.published or len(verdict) > RECORD_BYTES:
            raise ValueError(f"entry {entry}: not the next one, or {len(verdict)} bytes are too many")
        self._records[entry % ROWS, : len(verdict)] = np.frombuffer(verdict, np.uint8)
        self._rows["recorded_ns"][entry % ROWS] = now_ns
        fence()
        self._rows["recorded"][entry % ROWS] = len(verdict)

    def recorded(self, entry: int) -> bytes | None:
        """The verdict written down for a part, if there is one already."""
        length = int(self._rows["recorded"][entry % ROWS])
        return self._records[entry % ROWS, :length].tobytes() if length else None

    def recorded_since(self, since_ns: int) -> list[bytes]:
        """The verdicts that have been out since then, as far as they are still here, in order."""
        found = []
        for entry in range(self.published - 1, max(0, self.captured - ROWS) - 1, -1):
            record = self.recorded(entry)
            if record is None or int(self._rows["recorded_ns"][entry % ROWS]) < since_ns:
                break
            found.append(record)
        return found[::-1]

    @property
    def settled_ns(self) -> int:
        """What was given out before has been heard by whoever was there to hear it; set by publish."""
        return int(self._counters[_SETTLED])

    @settled_ns.setter
    def settled_ns(self, value: int) -> None:
        self._counters[_SETTLED] = value

    def set_published(self, entry: int) -> None:
        """The part's verdict is out; its slot is free."""
        fence()
        self._counters[_PUBLISHED] = entry + 1
