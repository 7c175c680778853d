"""Publish of a line with several cameras on a belt, with the time as an argument and no process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edge.belt.course import ByTime, Course
from edge.belt.deadline import deadline_at_capture
from edge.belt.join import Join
from edge.belt.layout import Layout
from edge.judges.decide import Rule
from edge.judges.rules import Rules
from edge.memory.ledger import Ledger
from edge.memory.ring import Ring, as_outputs
from edge.messages import Input, Part, Prediction, Unknown, UnknownReason, Verdict
from edge.stages.publisher import Publisher
from edge.stages.state import State
from edge.stages.verdict import Identity
from edge.wire import verdict_from

MS = 1_000_000
SHAPES = {"map": (1, 1, 8, 8)}
GUARD_NS = 10 * MS
IDENTITY = Identity(line="caps", run="0" * 16, recipe="r" * 64, bundle="b" * 64, accepted=frozenset())


class Crash(Exception):
    """The process was killed."""


class FrailLedger(Ledger):
    """A ledger whose process is killed before one of its writes: `left` writes from now."""

    left: list[int]

    def _live(self) -> None:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise Crash

    def record(self, *arguments: object) -> None:
        self._live()
        super().record(*arguments)  # type: ignore[arg-type]

    def set_published(self, entry: int) -> None:
        self._live()
        super().set_published(entry)


class BeltDesk:
    """A publisher with a ledger and a ring for each camera; the first camera is that of the layout's parts."""

    def __init__(
        self,
        folder: Path,
        cameras: Sequence[str],
        layout: Layout,
        course: Course | None = None,
        *,
        judges: int = 1,
        accepted: Sequence[str] = (),
        bundle: str = "1" * 64,
        record_bytes: int = 8192,
    ) -> None:
        self.folder, self.cameras, self.layout = folder, cameras, layout
        self.course = course or ByTime()
        self.identity = dataclasses.replace(IDENTITY, accepted=frozenset(accepted))
        rules = tuple(
            Rule(name=f"judge-{n}", bundle=bundle, thresholds={"spot": 0.5}, stride=4) for n in range(judges)
        )
        self.rules = {name: Rules(judges=rules, outputs=(SHAPES,) * judges) for name in cameras}
        self.ledgers = {name: Ledger.create(folder / f"{name}.ledger", record_bytes) for name in cameras}
        sizes = {"tensors": [8] * judges, "outputs": [256] * judges}
        self.rings = {
            name: Ring.create(folder / f"{name}.ring", slots=64, frame=8, **sizes) for name in cameras
        }
        #: How many writes into the ledgers the publisher has left before it is killed.
        self.left = [2**60]
        self.publisher = self.publisher_anew()

    def publisher_anew(self) -> Publisher:
        ledgers: dict[str, Ledger] = {}
        for name in self.cameras:
            ledger = FrailLedger.open(self.folder / f"{name}.ledger")
            assert isinstance(ledger, FrailLedger)
            ledger.left = self.left
            ledgers[name] = ledger
        join = Join(ledgers, self.layout, self.course)
        return Publisher(self.rings, ledgers, self.rules, self.identity, GUARD_NS, State({}, {}), join)

    def enter(self, camera: str, at_ns: int, position: int | None = None) -> Part:
        """Enter a look that was triggered at a time."""
        ledger = self.ledgers[camera]
        position = self.course.position(at_ns) if position is None else position
        slot, generation = self.rings[camera].lease(ledger.captured, ledger.published)
        part = Part(
            entry=ledger.captured,
            epoch=1 + list(self.cameras).index(camera),
            sequence=ledger.captured + 1,
            camera=camera,
            view="a",
            source_ref=f"{camera} {ledger.captured}",
            skipped=0,
            captured_ns=at_ns,
            captured_at_ns=1_700_000_000_000_000_000 + at_ns,
            deadline_ns=deadline_at_capture(self.layout, self.course, camera, at_ns, position),
            position=position,
            slot=slot,
            generation=generation,
        )
        return ledger.enter(part)

    def judge(self, part: Part, heat: float = 0.1) -> None:
        """Answer for a look: every judge's hottest cell."""
        rules = self.rules[part.camera]
        for number in range(len(rules.judges)):
            with self.rings[part.camera].area(part, "outputs", number) as area:
                as_outputs(area, SHAPES)["map"][:] = np.float32(0)
                as_outputs(area, SHAPES)["map"][0, 0, 2, 2] = heat
        input_ = Input(to_frame=(1, 0, 0, 0, 1, 0), registration_px=0.5)
        self.publisher.take(
            Prediction(part=part, inputs=(input_,) * len(rules.judges), engine_ns=1, done_ns={})
        )

    def refuse(self, part: Part, reason: UnknownReason) -> None:
        """Answer for a look that it cannot be judged."""
        self.publisher.take(Unknown(part=part, reason=reason, detail="so it is", done_ns={}))

    def see(self, at_ns: int, heats: Mapping[str, float] | float = 0.1) -> dict[str, Part]:
        """One part that all cameras see in its time; `heats` of some cameras, else 0.1."""
        found = {}
        for camera in self.cameras:
            station = self.layout.station(camera)
            found[camera] = self.enter(camera, at_ns + (station.at if station else 0))
            heat = heats.get(camera, 0.1) if isinstance(heats, Mapping) else heats
            self.judge(found[camera], heat)
        return found

    def publish(self, now_ns: int) -> list[tuple[str, Verdict]]:
        """All verdicts that are due at a time, with their topics."""
        found = []
        while (record := self.publisher.next(lambda: now_ns)) is not None:
            found.append((record.topic.decode(), verdict_from(record.body)))
            self.publisher.sent(record)
        return found
