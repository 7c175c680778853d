"""Runs the stages of a line on one frame after another, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from ..image.health import HealthMeter
from ..image.prepare import Preparer
from ..judges.rules import Rules
from ..memory.ledger import Record
from ..memory.ring import as_image
from ..messages import Frame, Look, Part, Prediction, Refused, Verdict
from ..stages.infer import Infer
from ..stages.judge_engine import Looks
from ..stages.looks import Seen, combined, looks_of, record_bytes
from ..stages.preprocess import PreprocessStep
from ..stages.verdict import Finding, Identity, OnBelt, Reply, finding_of, record_of
from .compare import done_ns_of, is_of_the_frame


class Stages:
    """Computes what the stages of a line find on a frame, with the stages' own code and rings of one slot."""

    def __init__(
        self,
        cameras: Mapping[str, Looks],
        preparers: Mapping[str, Sequence[Preparer]],
        meters: Mapping[str, HealthMeter],
        rules: Mapping[str, Rules],
    ) -> None:
        """All arguments are by the names of the cameras. `meters` compare no picture with the one before."""
        self._cameras, self._rules = cameras, rules
        self._steps = {
            name: PreprocessStep(
                looks.ring, preparers[name], partial(_warped_by_engine, looks), meter=meters[name]
            )
            for name, looks in cameras.items()
        }
        self._infer = Infer(cameras)
        self._record_bytes = record_bytes([len(looks.judges) for looks in cameras.values()])
        self._entries = count()

    def record(
        self, then: Verdict, looks: Mapping[str, tuple[Part, NDArray[np.uint8]]], identity: Identity
    ) -> Record:
        """Return the verdict of a part as the line would publish it, with the times of its verdict `then`.

        `looks` has the ledger's row and the frame, `(H, W)` or `(H, W, 3)` BGR uint8, of each camera with a
        frame. What other cameras said is taken from `then`.
        """
        if isinstance(then.looks, UnsetType):
            finding = self._find(*looks[then.camera], then)
            told: list[Look] | UnsetType = UNSET
        else:
            seen = [self._seen(look, looks.get(look.camera), then) for look in then.looks]
            finding = combined(seen, self._rules, None)
            told = looks_of(seen, self._rules, finding)
        belt = OnBelt(deadline_ns=then.deadline_ns, looks=told, eject_at_ns=then.eject_at_ns, tick=then.tick)
        rules, most = self._rules[then.camera], self._record_bytes
        return record_of(finding, rules, identity, then.published_ns, then.number, belt, most)

    def _seen(self, look: Look, seen: tuple[Part, NDArray[np.uint8]] | None, then: Verdict) -> Seen:
        if seen is not None and is_of_the_frame(look):
            part, frame = seen
            return Seen(camera=look.camera, part=part, finding=self._find(part, frame, then))
        refused = msgspec.convert({"type": "Refused", "reason": look.reason, "detail": ""}, Refused)
        return Seen(camera=look.camera, part=seen[0] if seen else None, finding=None, refused=refused)

    def _find(self, part: Part, frame: NDArray[np.uint8], verdict: Verdict) -> Finding:
        looks = self._cameras[part.camera]
        entry = next(self._entries)
        slot, generation = looks.ring.lease(entry, published=entry)
        here = msgspec.structs.replace(part, slot=slot, generation=generation)
        with looks.ring.area(here, "frame") as area:
            as_image(area, looks.frame)[:] = frame
        message = Frame(part=here, shape=looks.frame, done_ns=done_ns_of(verdict))
        reply = self._reply(message)
        if reply.health and verdict.image:
            # How often the picture was repeated follows from the pictures before it, which are not at hand.
            health = msgspec.structs.replace(reply.health, repeats=verdict.image.repeats)
            reply = msgspec.structs.replace(reply, health=health)
        if isinstance(reply, Prediction) and "engine" in verdict.latency_us:
            reply = msgspec.structs.replace(reply, engine_ns=verdict.latency_us["engine"] * 1000)
        return finding_of(reply, looks.ring, self._rules[part.camera])

    def _reply(self, message: Frame) -> Reply:
        step = self._steps[message.part.camera]
        if refused := step.start([message]):
            return refused[0]
        (tensor,) = step.finish()
        if refused := self._infer.start([tensor]):
            return refused[0]
        (reply,) = self._infer.finish()
        return reply


def _warped_by_engine(looks: Looks) -> list[bool]:
    return [judge.engine.warps_frames for judge in looks.judges]
