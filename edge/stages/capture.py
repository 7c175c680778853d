"""The capture stage: enters a part in the ledger at each trigger, and stores its picture in shared memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..belt.places import NOWHERE
from ..errors import PartError, SourceEnded, SourceError
from ..memory.ledger import ROWS, Ledger
from ..memory.ring import NO_LEASE, UNSEEN, Ring, as_image
from ..messages import SOURCE_REF_BYTES, Frame, Message, Part, Unknown
from ..sources.base import EarlierPicture, Source, Trigger
from ..sources.unseen import gap_before
from ..text import DETAIL_BYTES, end_of, fitted, readable
from .liveness import TICK_MS, Liveness
from .loop import stamp

log = logging.getLogger(__name__)


class Capture:
    """Turns triggers into parts. `shape` is a frame's shape.

    `place` returns the position on the belt and the deadline of a part that was triggered at a time.
    The time of a trigger that nobody saw is a guess. Unless `places_unseen`, its part gets no position,
    so that it takes no look of another part at a further camera.
    """

    def __init__(
        self,
        ring: Ring,
        ledger: Ledger,
        *,
        camera: str,
        shape: tuple[int, ...],
        place: Callable[[int], tuple[int, int]],
        places_unseen: bool = True,
    ) -> None:
        self._ring, self._ledger = ring, ledger
        self._camera, self._shape, self._place = camera, shape, place
        self._places_unseen = places_unseen
        self._epoch = ledger.epoch
        self._sequence = ledger.last_sequence(self._epoch)

    def unseen(self, trigger: Trigger) -> tuple[Sequence[Trigger], Trigger]:
        """Return the triggers that the source counted before `trigger` and nobody saw, and `trigger`.

        Too many are only counted as `skipped`. A trigger that has no count, though its source counts, gets the
        next one.
        """
        entered = self._ledger.captured
        last = picture_of(self._ledger.part(entered - 1)) if entered else None
        if last and last.count >= 0 and trigger.count < 0:
            trigger = replace(trigger, count=last.count + 1)
        gap = gap_before(trigger, last, ROWS)
        if gap.back_from >= 0:
            log.warning("the source counts anew: trigger %d came after %d", trigger.count, gap.back_from)
        if gap.unseen:
            log.warning("nobody saw %d triggers before trigger %d", len(gap.unseen), trigger.count)
        if gap.lost:
            log.error("the count of triggers jumps by %d to %d: too many to be parts", gap.lost, trigger.count)
        return gap.unseen, replace(trigger, skipped=trigger.skipped + gap.lost)

    def enter(self, trigger: Trigger, *, seen: bool = True) -> Part:
        """Enter a part in the ledger; return it. Its slot is -1 if its picture is lost or no slot is free.

        A part that nobody saw needs no message to publish: its row tells it.
        """
        entry = self._ledger.captured
        if not seen:
            slot, generation = UNSEEN
        else:
            slot, generation = NO_LEASE if trigger.lost else self._ring.lease(entry, self._ledger.published)
        self._sequence += 1
        position, deadline_ns = self._place(trigger.captured_ns)
        if not seen and not self._places_unseen:
            position = NOWHERE
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
    return [picture_of(ledger.part(entry)) for entry in entries]


def picture_of(part: Part) -> EarlierPicture:
    """Return what a source must know about a part of an earlier process of capture."""
    return EarlierPicture(part.source_ref, part.captured_at_ns, part.captured_ns, part.count)


def run_capture(
    liveness: Liveness,
    source: Source,
    capture: Capture,
    ledger: Ledger,
    onward: Callable[[Message], None],
    publish: Callable[[Message], None],
) -> None:
    """Capture each part that the source triggers, until the source ends or the stop signal comes.

    Calls `onward` with each frame, and `publish` with each part whose picture is lost. Triggers that the source
    counted and nobody saw become parts first, in their order. Takes no part while the ledger is full. It fills
    up only while nothing is published. Raises SourceError if the source fails. If that happens while a part's
    pixels are read, first calls `publish` with an `Unknown` for that part.
    """
    with source:
        liveness.ready()
        while not liveness.stopping:
            if not _has_room(liveness, ledger):
                return
            try:
                trigger = source.wait(TICK_MS / 1000)
            except SourceEnded:
                return
            if trigger is None:
                continue
            unseen, trigger = capture.unseen(trigger)
            for one in unseen:
                capture.enter(one, seen=False)
                if not _has_room(liveness, ledger):
                    return
            part = capture.enter(trigger)
            try:
                message = capture.read(source, part, trigger.lost)
            except SourceError as error:
                said = Unknown(part=part, reason="frame", detail=fitted(str(error), DETAIL_BYTES), done_ns={})
                publish(stamp("capture", said))
                raise
            (onward if isinstance(message, Frame) else publish)(stamp("capture", message))


def _has_room(liveness: Liveness, ledger: Ledger) -> bool:
    """Wait until the ledger has room for a part. Return False if the stop signal comes while it is full."""
    liveness.beat()
    while ledger.full:
        if liveness.stopping:
            return False
        time.sleep(TICK_MS / 1000)
        liveness.beat()
    return True
