"""Runs all judges' engines on a batch of parts, on one lane, and tells the engines' answers apart by part."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Union

from ..engines.base import Engine, Outputs
from ..errors import EngineError, EngineLost
from ..messages import Refused, Tensor
from .judge_engine import JudgeEngine
from .samples import Samples

#: Outputs or an error, by the place of a part in its batch and the number of the judge.
Collected = dict[tuple[int, int], Union[Outputs, EngineError]]  # noqa: UP007  (read at run time)


def submit(
    engines: Sequence[Engine], lane: int, judges: Sequence[Sequence[JudgeEngine]], samples: Sequence[Samples]
) -> list[Engine]:
    """Submit to each engine the samples of all its judges, part by part. Return the engines that got samples.

    `judges` has the judges of each part. If one engine fails, discard the work of the others.
    """
    submitted: list[Engine] = []
    for engine in engines:
        shown = [
            sample
            for of_part, each in zip(judges, samples, strict=True)
            for judge, found in zip(of_part, each, strict=True)
            if judge.engine is engine
            for sample in found
        ]
        try:
            if shown:
                engine.submit(lane, shown)
                submitted.append(engine)
        except EngineError:
            for other in submitted:
                with suppress(EngineError):
                    other.collect(lane)
            raise
    return submitted


class Batch:
    """The parts that the engines work on together, on the lane with the number `lane`."""

    def __init__(
        self,
        engines: Sequence[Engine],
        lane: int,
        tensors: Sequence[Tensor],
        judges: Sequence[Sequence[JudgeEngine]],
        samples: Sequence[Samples],
    ) -> None:
        """Start `engines` on the samples of the parts. Raise EngineError if an engine cannot take them.

        `judges` and `samples` are of each part.
        """
        self.lane, self.tensors = lane, tensors
        self._judges = judges
        self._engines = submit(engines, lane, judges, samples)
        self.started_ns = time.monotonic_ns()
        self._collected: Collected | None = None  # None until the engines were waited for

    def _asked(self, engine: Engine) -> list[tuple[int, int]]:
        """Return the places of the parts and the numbers of the judges for which an engine works, in order."""
        return [
            (place, number)
            for place, tensor in enumerate(self.tensors)
            for number, judge in enumerate(self._judges[place])
            if judge.engine is engine and not isinstance(tensor.inputs[number], Refused)
        ]

    def ready(self, timeout_s: float = 0.0) -> bool:
        """Return whether `collect` would not wait. If the engines wait, wait for this for about `timeout_s`."""
        return self._collected is not None or all(
            engine.ready(self.lane, timeout_s) for engine in self._engines
        )

    def collect(self) -> Collected:
        """Wait for the engines, unless that was done. Return what they said of each part for each judge.

        Raise EngineLost if only a new process can go on.
        """
        if self._collected is None:
            self._collected = {}
            for engine in self._engines:
                self._collected.update(self._collect_from(engine))
        return self._collected

    def _collect_from(self, engine: Engine) -> Collected:
        """Wait for an engine. Return its outputs or its error for each part and judge."""
        asked = self._asked(engine)
        try:
            outputs = iter(engine.collect(self.lane))
            found: Collected = {}
            for place, number in asked:
                judge = self._judges[place][number]
                tiles = list(islice(outputs, judge.tiles))
                found[place, number] = judge.grid.join(tiles, judge.stride) if judge.grid else tiles[0]
            return found
        except EngineLost:
            raise
        except EngineError as error:
            return dict.fromkeys(asked, error)
