"""Runs the stages of a line on one frame after another, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..image.health import HealthMeter
from ..image.prepare import Preparer
from ..judges.rules import Rules
from ..memory.ring import as_image
from ..messages import Frame, Part, Prediction, Verdict
from ..stages.infer import Infer, Looks
from ..stages.preprocess import PreprocessStep
from ..stages.verdict import Finding, Reply, finding_of
from .compare import done_ns_of


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
        self._entries = count()

    def find(self, part: Part, frame: NDArray[np.uint8], verdict: Verdict) -> Finding:
        """Return what is found on the frame of a part, which had this verdict.

        `frame` is `(H, W)` or `(H, W, 3)` BGR, uint8. The finding has the times that the verdict tells.
        """
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
