"""Infer: Tensor -> Prediction, on the engine's lanes; features of masters are kept by view."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from .engines.base import Engine, Image, Outputs, Reference
from .errors import EngineError
from .gallery import Gallery
from .messages import Frame, Laid, Prediction, Tensor
from .ring import Ring, as_image, as_outputs


class References:
    """What the engine keeps of each master, made when a view is first seen; least recently used go first."""

    def __init__(self, engine: Engine, master: Callable[[str], Image], limit_bytes: int) -> None:
        self._engine, self._master, self._limit_bytes = engine, master, limit_bytes
        self._kept: OrderedDict[str, Reference] = OrderedDict()
        self._nbytes = 0

    def warm(self, views: Iterable[str]) -> None:
        """Make the references of these views, as far as the memory goes."""
        for view in views:
            if self._nbytes >= self._limit_bytes:
                return
            self(view)

    def __call__(self, view: str) -> Reference:
        """The reference of a view; PartError where it has no master."""
        if view in self._kept:
            self._kept.move_to_end(view)
            return self._kept[view]
        made = self._engine.reference(self._master(view))
        self._kept[view] = made
        self._nbytes += made.nbytes
        while self._nbytes > self._limit_bytes and len(self._kept) > 1:
            self._nbytes -= self._kept.popitem(last=False)[1].nbytes
        return made


@dataclass(frozen=True, kw_only=True)
class Seat:
    """One judge's engine, and what it compares parts with, if with anything."""

    engine: Engine
    shape: tuple[int, ...]  # of its input
    references: References | None = None
    gallery: Gallery | None = None


class Infer:
    """The step that keeps one part in flight on each lane of every judge's engine."""

    def __init__(self, ring: Ring, seats: Sequence[Seat]) -> None:
        self._ring, self._seats = ring, seats
        self.depth = min(seat.engine.lanes for seat in seats)
        self._lanes = deque(range(self.depth))
        self._started: deque[tuple[Tensor, int, int, list[Reference | None]]] = deque()

    def start(self, message: Frame | Tensor) -> None:
        """Put the part's inputs on a lane; PartError, SlotOverwritten or EngineError where that fails."""
        if not isinstance(message, Tensor):
            raise TypeError(f"infer got a {type(message).__name__}")
        seats = [
            seat if isinstance(input_, Laid) else None
            for seat, input_ in zip(self._seats, message.inputs, strict=True)
        ]
        view, lane = message.part.view, self._lanes[0]
        compared = [seat.references(view) if seat and seat.references else None for seat in seats]
        submitted = []
        try:
            for number, seat in enumerate(seats):
                if seat:
                    with self._ring.area(message.part, "tensor", number) as area:
                        seat.engine.submit(lane, as_image(area, seat.shape), compared[number])
                    submitted.append(seat)
        except BaseException:
            for seat in submitted:
                with suppress(EngineError):
                    seat.engine.collect(lane)
            raise
        self._started.append((message, self._lanes.popleft(), time.monotonic_ns(), compared))

    def finish(self) -> Prediction:
        """Wait for the part that was started first and lay what was said of it into its slot."""
        tensor, lane, started_ns, _ = self._started.popleft()
        answers: list[Outputs | EngineError | None] = []
        for seat, input_ in zip(self._seats, tensor.inputs, strict=True):
            try:  # every lane is emptied, whatever one of them says
                answers.append(seat.engine.collect(lane) if isinstance(input_, Laid) else None)
            except EngineError as error:
                answers.append(error)
        self._lanes.append(lane)
        engine_ns = time.monotonic_ns() - started_ns
        for number, (seat, outputs) in enumerate(zip(self._seats, answers, strict=True)):
            if isinstance(outputs, EngineError):
                raise outputs
            if outputs is not None:
                self._lay(tensor, number, seat.gallery.score(outputs) if seat.gallery else outputs)
        return Prediction(part=tensor.part, inputs=tensor.inputs, engine_ns=engine_ns, done_ns=tensor.done_ns)

    def _lay(self, tensor: Tensor, number: int, outputs: Outputs) -> None:
        shapes = {name: output.shape for name, output in outputs.items()}
        with self._ring.area(tensor.part, "outputs", number) as area:
            for name, array in as_outputs(area, shapes).items():
                np.copyto(array, outputs[name])
