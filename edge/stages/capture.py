"""The capture stage: enters a part in the ledger at each trigger, and stores its picture in shared memory."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import PartError, SourceEnded, SourceError
from ..memory.ledger import ROWS, Ledger
from ..memory.ring import NO_LEASE, Ring, as_image
from ..messages import SOURCE_REF_BYTES, Frame, Message, Part, Unknown
from ..sources.base import EarlierPicture, Source, Trigger
from ..text import DETAIL_BYTES, end_of, fitted, readable
from .liveness import TICK_MS, Liveness
from .loop import stamp


class Capture:
    """Turns triggers into parts. `shape` is a frame's shape.

    `place` returns the position on the belt and the deadline of a part that was triggered at a time.
    """

    def __init__(
        self,
        ring: Ring,
        ledger: Ledger,
        *,
        camera: str,
        shape: tuple[int, ...],
        place: Callable[[int], tuple[int, int]],
    ) -> None:
        self._ring, self._ledger = ring, ledger
        self._camera, self._shape, self._place = camera, shape, place
        self._epoch = ledger.epoch
        self._sequence = ledger.last_sequence(self._epoch)

    def enter(self, trigger: Trigger) -> Part:
        """Enter a part in the ledger; return it. Its slot is -1 if its picture is lost or no slot is free."""
        entry = self._ledger.captured
        slot, generation = NO_LEASE if trigger.lost else self._ring.lease(entry, self._ledger.published)
        self._sequence += 1
        position, deadline_ns = self._place(trigger.captured_ns)
        part = Part(
            entry=entry,
            epoch=self._epoch,
            sequence=self._sequence,
            camera=self._camera,
            view=trigger.view,
            source_ref=end_of(readable(trigger.source_ref), SOURCE_REF_BYTES),
            skipped=trigger.skipped,
            captured_ns=trigger.captured_ns,
            captured_at_ns=trigger.captured_at_ns,
            deadline_ns=deadline_ns,
            position=position,
            count=trigger.count,
            slot=slot,
            generation=generation,
        )
        return self._ledger.enter(part)

    def read(self, source: Source, part: Part, lost: str = "") -> Frame | Unknown:
        """Have the source write the part's pixels into its slot, as `(H, W)` or `(H, W, 3)` uint8.

        Returns Unknown if the part has no slot or the source cannot deliver the pixels. If the source
        has lost the picture, `lost` says why. Otherwise, `lost` is empty.
        """
        if part.slot < 0:
            detail = lost or f"all {self._ring.slots} slots hold parts that wait for a verdict"
            return Unknown(part=part, reason="overrun", detail=detail, done_ns={})
        try:
            with self._ring.area(part, "frame") as area:
                source.read(as_image(area, self._shape))
            self._ring.set_filled(part)
        except PartError as error:
            return Unknown(part=part, reason=error.reason, detail=error.detail, done_ns={})
        return Frame(part=part, shape=self._shape, done_ns={})


def shown(ledger: Ledger) -> list[EarlierPicture]:
    """Return names and times of the run's last ROWS pictures, oldest first. A restart of capture keeps them."""
    entries = range(max(0, ledger.captured - ROWS), ledger.captured)
    parts = map(ledger.part, entries)
    return [EarlierPicture(p.source_ref, p.captured_at_ns, p.captured_ns, p.count) for p in parts]


def run_capture(
    liveness: Liveness,
    source: Source,
    capture: Capture,
    ledger: Ledger,
    onward: Callable[[Message], None],
    publish: Callable[[Message], None],
) -> None:
    """Capture each part that the source triggers, until the source ends or the stop signal comes.

    Calls `onward` with each frame, and `publish` with each part whose picture is missing. Takes no part while
    the ledger is full. It fills up only while nothing is published. Raises SourceError if the source fails.
    If that happens while a part's pixels are read, first calls `publish` with an `Unknown` for that part.
    """
    with source:
        liveness.ready()
        while not liveness.stopping:
            liveness.beat()
            if ledger.full:
                time.sleep(TICK_MS / 1000)
                continue
            try:
                trigger = source.wait(TICK_MS / 1000)
            except SourceEnded:
                return
            if trigger is None:
                continue
            part = capture.enter(trigger)
            try:
                message = capture.read(source, part, trigger.lost)
            except SourceError as error:
                said = Unknown(part=part, reason="frame", detail=fitted(str(error), DETAIL_BYTES), done_ns={})
                publish(stamp("capture", said))
                raise
            (onward if isinstance(message, Frame) else publish)(stamp("capture", message))
