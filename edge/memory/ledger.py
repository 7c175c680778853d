"""Keeps a row for each part that a camera captured, until the part's verdict is sent.

Each camera has a ledger of its own. It belongs to the supervisor and outlives every stage. Each counter has a
single writer: the capture stage counts entered parts, the publish stage counts sent verdicts. A part is entered
before any of its pixels are written. A verdict is recorded before it is sent. If the publish stage is killed in
between, the restarted publish stage sends the same verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import DTypeLike

from ..errors import LineError
from ..messages import SOURCE_REF_BYTES, VIEW_BYTES, Part
from ..text import fitted
from ..wire import resent_body
from .arrays import SharedArrays, fence

ROWS = 2048
RECORD_BYTES = 8192

_ROW = np.dtype(
    [
        ("entry", "<i8"),
        ("epoch", "<i8"),
        ("sequence", "<i8"),
        ("captured_ns", "<i8"),
        ("captured_at_ns", "<i8"),
        ("deadline_ns", "<i8"),
        ("position", "<i8"),
        ("count", "<i8"),
        ("slot", "<i8"),
        ("generation", "<i8"),
        ("skipped", "<i8"),
        ("taker", "<i8"),  # id of the infer process that has taken the part; 0: none yet
        ("recorded", "<i8"),  # bytes of the recorded verdict; 0: none yet
        ("published_ns", "<i8"),
        ("number", "<i8"),
        ("reason", "S16"),
        ("camera", "S32"),
        ("view", f"S{VIEW_BYTES}"),
        ("source_ref", f"S{SOURCE_REF_BYTES}"),
    ]
)
_TEXTS = {name: _ROW[name].itemsize for name in ("camera", "view", "source_ref")}
_OF_RECORD = {"taker": 0, "recorded": 0, "published_ns": 0, "number": 0, "reason": b""}
_OF_PART = tuple(name for name in _ROW.names or () if name not in _OF_RECORD)
# Positions of the counters: a cache line apart, since each has another writer.
_CAPTURED, _PUBLISHED, _EPOCH, _SETTLED = 0, 8, 16, 24

_LAYOUT: dict[str, tuple[DTypeLike, tuple[int, ...]]] = {
    "counters": (np.int64, (32,)),
    "rows": (_ROW, (ROWS,)),
    "records": (np.uint8, (ROWS, RECORD_BYTES)),
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """A verdict as the publish stage sends it. Later heartbeats need its reason and time."""

    topic: bytes
    body: bytes  # JSON
    reason: str
    published_ns: int
    number: int = 0  # its place in the order of the line's verdicts: 1, 2, 3, ...; 0: it is no verdict

    def resent(self) -> Record:
        """Return a copy of the record whose body says that the verdict was sent before."""
        return replace(self, body=resent_body(self.body))


class Ledger:
    """The table of one camera's parts and their recorded verdicts."""

    def __init__(self, arrays: SharedArrays) -> None:
        self._counters = arrays["counters"]
        self._rows = arrays["rows"]
        self._records = arrays["records"]

    @classmethod
    def create(cls, path: Path, record_bytes: int = RECORD_BYTES) -> Ledger:
        """Create the ledger of a new run. Raise LineError if there is not enough memory for it.

        A recorded verdict has `record_bytes` at most.
        """
        return cls(SharedArrays.create(path, {**_LAYOUT, "records": (np.uint8, (ROWS, record_bytes))}))

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Open a ledger that `create` made. Raise LineError if the file is missing or of another version."""
        arrays = SharedArrays.open(path)
        # Only the length of a record may differ.
        if {name: (arrays[name].dtype, arrays[name].shape[:1]) for name in arrays} != {
            name: (np.dtype(dtype), shape[:1]) for name, (dtype, shape) in _LAYOUT.items()
        }:
            raise LineError(f"{path}: the ledger of another version of the line")
        return cls(arrays)

    @property
    def record_bytes(self) -> int:
        """The most bytes that a recorded verdict may have, with its topic and one byte between them."""
        return int(self._records.shape[1])

    @property
    def epoch(self) -> int:
        """The current epoch, which the supervisor sets before each start of capture."""
        return int(self._counters[_EPOCH])

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._counters[_EPOCH] = value

    @property
    def captured(self) -> int:
        """The number of parts entered so far."""
        return int(self._counters[_CAPTURED])

    @property
    def published(self) -> int:
        """The number of parts that have their verdict. Parts get their verdicts in the order of their entry."""
        return int(self._counters[_PUBLISHED])

    @property
    def waiting(self) -> int:
        """The number of parts that have no verdict yet."""
        return self.captured - self.published

    @property
    def full(self) -> bool:
        """True if every row belongs to a part without a verdict."""
        return self.waiting >= ROWS

    def enter(self, part: Part) -> Part:
        """Enter the next part, which will get exactly one verdict. Return the part as the ledger holds it.

        A text that is too long for the ledger is cut and ends in an ellipsis. Raise ValueError if
        `part.entry` is not the next number, or if the ledger is full.
        """
        if part.entry != self.captured or self.full:
            raise ValueError(
                f"part {part.part_id} does not follow entry {self.captured}, or the ledger is full"
            )
        part = msgspec.structs.replace(
            part, **{k: fitted(getattr(part, k), most) for k, most in _TEXTS.items()}
        )
        fields = {**msgspec.structs.asdict(part), **_OF_RECORD}
        fields |= {name: fields[name].encode() for name in _TEXTS}
        self._rows[part.entry % ROWS] = tuple(fields[name] for name in _ROW.names or ())
        fence()
        self._counters[_CAPTURED] = part.entry + 1
        return part

    def part(self, entry: int) -> Part:
        """Return the part with the number `entry`. Raise ValueError if its row was reused or never written."""
        if not 0 <= self.captured - entry - 1 < ROWS:
            raise ValueError(f"entry {entry} is not in the ledger")
        fields = dict(zip(_ROW.names or (), self._rows[entry % ROWS].item(), strict=True))
        for name in _TEXTS:
            # Capture may be writing this row for a new part at this moment, in the middle of a character.
            fields[name] = fields[name].decode(errors="replace")
        return Part(**{name: fields[name] for name in _OF_PART})

    def take(self, entry: int, pid: int) -> None:
        """Note that the infer process with this id has taken a part."""
        self._rows["taker"][entry % ROWS] = pid

    def taker(self, entry: int) -> int:
        """Return the id of the infer process that has taken a part; 0 if none has."""
        return int(self._rows["taker"][entry % ROWS])

    def positions(self, entry: int) -> list[tuple[int, int]]:
        """Return entry and position of all parts from `entry` on whose rows are not reused yet, in order."""
        captured = self.captured
        if entry >= captured:
            return []
        entries = range(max(entry, captured - ROWS), captured)
        found = self._rows["position"][[entry % ROWS for entry in entries]]
        return list(zip(entries, found.tolist(), strict=True))

    def holds(self, part: Part) -> bool:
        """Return whether the ledger has a row for the part, with the same value in each field."""
        return 0 <= self.captured - part.entry - 1 < ROWS and self.part(part.entry) == part

    def last_sequence(self, epoch: int) -> int:
        """Return the sequence number of the part entered last, or 0 if that part is not of this epoch."""
        if not self.captured:
            return 0
        row = self._rows[(self.captured - 1) % ROWS]
        return int(row["sequence"]) if int(row["epoch"]) == epoch else 0

    def record(self, entry: int, record: Record) -> None:
        """Record the verdict of the next part to be published. The recorded verdict never changes.

        Raise ValueError if `entry` is not that part's number, or if the verdict has more than `record_bytes`.
        """
        data = record.topic + b"\n" + record.body
        if entry != self.published or len(data) > self.record_bytes:
            raise ValueError(f"entry {entry}: not the next one, or {len(data)} bytes are too many")
        row = entry % ROWS
        self._records[row, : len(data)] = np.frombuffer(data, np.uint8)
        self._rows["published_ns"][row] = record.published_ns
        self._rows["number"][row] = record.number
        self._rows["reason"][row] = record.reason.encode()
        fence()
        self._rows["recorded"][row] = len(data)

    def recorded(self, entry: int) -> Record | None:
        """Return the verdict that is recorded for a part. Return None if there is none yet."""
        row = self._rows[entry % ROWS]
        if not (length := int(row["recorded"])):
            return None
        topic, _, body = self._records[entry % ROWS, :length].tobytes().partition(b"\n")
        return Record(
            topic=topic,
            body=body,
            reason=bytes(row["reason"]).decode(),
            published_ns=int(row["published_ns"]),
            number=int(row["number"]),
        )

    def recorded_since(self, since_ns: int) -> list[Record]:
        """Return the verdicts sent since `since_ns`, oldest first, except those whose rows were reused."""
        found = []
        for entry in range(self.published - 1, max(0, self.captured - ROWS) - 1, -1):
            record = self.recorded(entry)
            if record is None or record.published_ns < since_ns:
                break
            found.append(record)
        return found[::-1]

    @property
    def last_number(self) -> int:
        """The highest number of a recorded verdict; 0 if there is none yet."""
        return int(self._rows["number"].max())

    @property
    def settled_ns(self) -> int:
        """Verdicts that were sent before this time have reached the subscribers. Publish sets this time."""
        return int(self._counters[_SETTLED])

    @settled_ns.setter
    def settled_ns(self, value: int) -> None:
        self._counters[_SETTLED] = value

    def set_published(self, entry: int) -> None:
        """Count the verdict of the part `entry` as sent. This frees the part's slot."""
        fence()
        self._counters[_PUBLISHED] = entry + 1
