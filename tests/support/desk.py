"""Publish of a line with one camera, with the time as an argument and no process."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from parts import part_of

from edge.belt.course import ByTime
from edge.belt.join import Join
from edge.belt.layout import Layout
from edge.judges.decide import Rule
from edge.judges.rules import Rules
from edge.memory.ledger import Ledger
from edge.memory.ring import Ring, as_outputs
from edge.messages import Input, Prediction, Refused, Verdict
from edge.recipe import Fusion
from edge.stages.publisher import Publisher
from edge.stages.state import State
from edge.stages.verdict import Identity
from edge.wire import verdict_from

SHAPES = {"map": (1, 1, 8, 8)}
RULE = Rule(name="spots", bundle="1" * 64, thresholds={"spot": 0.5}, stride=4)
INPUT = Input(to_frame=(1, 0, 0, 0, 1, 0), registration_px=0.5)
GUARD_NS = 10
DARK = Refused(reason="dark", detail="the picture's contrast is 2 grey levels")
IDENTITY = Identity(line="pcb", run="0" * 16, recipe="r" * 64, bundle="b" * 64, accepted=frozenset({"dark"}))


class Desk:
    """A publisher on a real ring and ledger; a part is due 50 us after its capture."""

    def __init__(
        self,
        folder: Path,
        rules: tuple[Rule, ...] = (RULE,),
        fusion: Fusion | None = None,
        accepted: str = "dark",
        camera: str = "camera",
    ) -> None:
        self.folder, self.camera = folder, camera
        self.identity = dataclasses.replace(IDENTITY, accepted=frozenset({accepted}))
        self.rules = Rules(judges=rules, outputs=(SHAPES,) * len(rules), fusion=fusion)
        sizes = {"tensors": [8] * len(rules), "outputs": [256] * len(rules)}
        self.ring = Ring.create(folder / "ring", slots=8, frame=8, **sizes)
        self.ledger = Ledger.create(folder / "ledger")
        self.hold, self.failed_ns = "", 0
        self.publisher = self.publisher_anew()

    def publisher_anew(self) -> Publisher:
        ring, ledger = Ring.open(self.folder / "ring"), Ledger.open(self.folder / "ledger")
        ledgers = {self.camera: ledger}
        join = Join(ledgers, Layout(), ByTime())
        rings, rules = {self.camera: ring}, {self.camera: self.rules}
        state = State({}, {}, hold=lambda: self.hold)
        return Publisher(
            rings, ledgers, rules, self.identity, GUARD_NS, state, join, failed_ns=lambda: self.failed_ns
        )

    def enter(self, at_ns: int = 0) -> int:
        entry = self.ledger.captured
        slot, generation = self.ring.lease(entry, self.ledger.published)
        part = part_of(entry, slot=slot, generation=generation, captured_ns=at_ns, deadline_ns=at_ns + 50_000)
        self.ledger.enter(part)
        return entry

    def predict(self, entry: int, *said: float | Refused) -> Prediction:
        """Each judge's hottest cell, or why it could not look."""
        part = self.ledger.part(entry)
        for number, heat in enumerate(said):
            if not isinstance(heat, Refused):
                with self.ring.area(part, "outputs", number) as area:
                    as_outputs(area, SHAPES)["map"][:] = 0
                    as_outputs(area, SHAPES)["map"][0, 0, 2, 2] = heat
        done_ns = {"capture": part.captured_ns + 2_500, "infer": part.captured_ns + 9_100}
        return Prediction(
            part=part,
            inputs=tuple(heat if isinstance(heat, Refused) else INPUT for heat in said),
            engine_ns=4_000,
            done_ns=done_ns,
        )

    def publish(self, now_ns: int) -> list[tuple[str, Verdict]]:
        found = []
        while (record := self.publisher.next(lambda: now_ns)) is not None:
            found.append((record.topic.decode(), verdict_from(record.body)))
            self.publisher.sent(record)
        return found
