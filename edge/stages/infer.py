"""Infer: Tensor -> Prediction, on the engine's lanes; features of masters are kept by view."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ..engines.base import Engine, Image, Outputs, Reference, Sample
from ..errors import EngineError, EngineLost, PartError, SlotOverwritten
from ..image.kernel import Laying
from ..image.warp import Resampler
from ..judges.gallery import Gallery
from ..memory.ring import Ring, as_image, as_outputs
from ..messages import Frame, Input, Laid, Part, Posed, Prediction, Refused, Tensor, Unknown
from .loop import refuse


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
    layer: Layer | None = None  # of frames that preprocess left to the engine


@dataclass(frozen=True)
class _Batch:
    """Parts that share a lane."""

    lane: int
    started_ns: int
    tensors: list[Tensor]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """How frames of this shape become a judge's input."""

    frame: tuple[int, ...]
    resampler: Resampler
    master: Callable[[str], Image] | None  # the input that the master of a view makes


class Infer:
    """The step that keeps a batch of parts in flight on each lane of every judge's engine."""

    def __init__(self, ring: Ring, seats: Sequence[Seat]) -> None:
        self._ring, self._seats = ring, seats
        self.lanes = min(seat.engine.lanes for seat in seats)
        self.batch = min(seat.engine.batch for seat in seats)
        self._idle = deque(range(self.lanes))
        self._batches: deque[_Batch] = deque()
        for number, seat in enumerate(seats):
            seat.engine.pin(ring.memory("tensor", number))
            if seat.engine.lays:
                seat.engine.pin(ring.memory("frame"))

    def start(self, messages: Sequence[Frame | Tensor]) -> list[Unknown]:
        """Put the parts' inputs on an idle lane; returns those that cannot be judged."""
        refused: list[Unknown] = []
        tensors: list[Tensor] = []
        samples: list[list[Sample | None]] = []  # of each part, judge by judge
        for message in messages:
            if not isinstance(message, Tensor):
                raise TypeError(f"infer got a {type(message).__name__}")
            try:
                samples.append(self._samples(message))
                tensors.append(message)
            except EngineLost:
                raise
            except (PartError, SlotOverwritten, EngineError) as error:
                refused.append(refuse(message, error))
        if tensors:
            try:
                self._submit(self._idle[0], samples)
            except EngineLost:
                raise
            except EngineError as error:
                return refused + [refuse(tensor, error) for tensor in tensors]
            self._batches.append(_Batch(self._idle.popleft(), time.monotonic_ns(), tensors))
        return refused

    def _samples(self, tensor: Tensor) -> list[Sample | None]:
        """What each judge that can look at the part is shown of it."""
        samples: list[Sample | None] = []
        for number, (seat, input_) in enumerate(zip(self._seats, tensor.inputs, strict=True)):
            if isinstance(input_, Refused):
                samples.append(None)
                continue
            compared = seat.references(tensor.part.view) if seat.references else None
            with self._ring.area(tensor.part, "tensor", number) as area:
                image, laying = as_image(area, seat.shape), None
                if isinstance(input_, Posed):
                    image, laying = self._frame(tensor.part, seat, input_, image)
                samples.append(Sample(image, compared, laying))
        return samples

    def _frame(self, part: Part, seat: Seat, posed: Posed, out: Image) -> tuple[Image, Laying | None]:
        """The part's frame with how it is to be laid or, for an engine that cannot, what is laid of it."""
        assert seat.layer is not None
        with self._ring.area(part, "frame") as area:
            frame = as_image(area, seat.layer.frame)
            pose = None if posed.pose is None else np.array(posed.pose).reshape(2, 3)
            if seat.engine.lays:
                return frame, seat.layer.resampler.laying(seat.layer.frame, pose)
            under = seat.layer.master(part.view) if seat.layer.master else None
            seat.layer.resampler.lay(frame, out, pose, under=under)
        return out, None

    def _submit(self, lane: int, samples: Sequence[Sequence[Sample | None]]) -> None:
        """Ask every judge's engine about those parts that it is to look at, or none of them."""
        asked: list[Seat] = []
        for number, seat in enumerate(self._seats):
            shown = [sample for each in samples if (sample := each[number])]
            try:
                if shown:
                    seat.engine.submit(lane, shown)
                    asked.append(seat)
            except EngineError:
                for other in asked:
                    with suppress(EngineError):
                        other.engine.collect(lane)
                raise

    def finish(self) -> list[Prediction | Unknown]:
        """Wait for the parts that were started first and lay what was said of them into their slots."""
        batch = self._batches.popleft()
        said = [self._collect(number, batch) for number in range(len(self._seats))]
        self._idle.append(batch.lane)
        engine_ns = time.monotonic_ns() - batch.started_ns
        outcomes: list[Prediction | Unknown] = []
        for tensor in batch.tensors:
            try:
                for number, answers in enumerate(said):
                    self._lay(tensor, number, answers.get(tensor.part.entry))
            except (SlotOverwritten, EngineError) as error:
                outcomes.append(refuse(tensor, error))
            else:
                part, inputs, done_ns = tensor.part, tuple(map(_laid, tensor.inputs)), tensor.done_ns
                outcomes.append(Prediction(part=part, inputs=inputs, engine_ns=engine_ns, done_ns=done_ns))
        return outcomes

    def _collect(self, number: int, batch: _Batch) -> dict[int, Outputs | EngineError]:
        """What a judge says of the parts that it looked at, by entry; after an error its lane is empty too."""
        looked = [
            tensor.part.entry for tensor in batch.tensors if not isinstance(tensor.inputs[number], Refused)
        ]
        if not looked:
            return {}
        try:
            return dict(zip(looked, self._seats[number].engine.collect(batch.lane), strict=True))
        except EngineLost:
            raise
        except EngineError as error:
            return dict.fromkeys(looked, error)

    def _lay(self, tensor: Tensor, number: int, said: Outputs | EngineError | None) -> None:
        if isinstance(said, EngineError):
            raise said
        if said is None:
            return
        gallery = self._seats[number].gallery
        outputs = gallery.score(said) if gallery else said
        shapes = {name: output.shape for name, output in outputs.items()}
        with self._ring.area(tensor.part, "outputs", number) as area:
            for name, array in as_outputs(area, shapes).items():
                np.copyto(array, outputs[name])


def _laid(input_: Input) -> Laid | Refused:
    """What became of a judge's input."""
    if isinstance(input_, Posed):
        return Laid(to_frame=input_.to_frame, registration_px=input_.registration_px)
    return input_
