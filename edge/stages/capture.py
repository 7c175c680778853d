"""Captures parts: enters each trigger in the ledger, then has the source write its pixels into a slot."""

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
    """Makes a part of each trigger; its deadline is `deadline_ns` after capture. `shape` is a frame's shape."""

    def __init__(
        self, ring: Ring, ledger: Ledger, *, camera: str, shape: tuple[int, ...], deadline_ns: int
    ) -> None:
        self._ring, self._ledger = ring, ledger
        self._camera, self._shape, self._deadline_ns = camera, shape, deadline_ns
        self._epoch = ledger.epoch
        self._sequence = ledger.last_sequence(self._epoch)

    def enter(self, trigger: Trigger) -> Part:
        """Enter the trigger's part in the ledger and return it; its slot is -1 where none is free."""
        entry = self._ledger.captured
        slot, generation = NO_LEASE if trigger.lost else self._ring.lease(entry, self._ledger.published)
        self._sequence += 1
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
            deadline_ns=trigger.captured_ns + self._deadline_ns,
            slot=slot,
            generation=generation,
        )
        return self._ledger.enter(part)

    def read(self, source: Source, part: Part, lost: str = "") -> Frame | Unknown:
        """Have the source write the part's pixels into its slot, `(H, W)` or `(H, W, 3)` uint8.

        Returns Unknown where the source cannot deliver them; `lost` is the source's reason, if it has one.
        """
        if part.slot < 0:
            detail = lost or f"all {self._ring.slots} slots hold parts that wait for a verdict"
            return Unknown(part=part, reason="overrun", detail=detail, done_ns={})
        try:
            with self._ring.area(part, "frame") as area:
                source.read(as_image(area, self._shape))
        except PartError as error:
            return Unknown(part=part, reason=error.reason, detail=error.detail, done_ns={})
        return Frame(part=part, shape=self._shape, done_ns={})


def shown(ledger: Ledger) -> list[EarlierPicture]:
    """Return the pictures of the last ROWS parts of this run, of all epochs, oldest first."""
    entries = range(max(0, ledger.captured - ROWS), ledger.captured)
    return [EarlierPicture(part.source_ref, part.captured_at_ns) for part in map(ledger.part, entries)]


def run_capture(
    liveness: Liveness,
    source: Source,
    capture: Capture,
    ledger: Ledger,
    onward: Callable[[Message], None],
    publish: Callable[[Message], None],
) -> None:
    """Enter and send on each part that the source triggers, until the source ends or until told to stop.

    Takes no part while the ledger is full, which happens only while nothing is published. A source that fails
    raises SourceError; its last part goes to publish as `unknown`.
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
