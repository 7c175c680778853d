"""Infer: Tensor -> Prediction, on the engine's lanes; features of masters are kept by view."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

import numpy as np

from .engines.base import Engine, Image, Reference
from .messages import Frame, Prediction, Tensor
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


class Infer:
    """The step that keeps one part in flight on each lane of the engine.

    `references` is None for a model that judges a part without a master.
    """

    def __init__(self, ring: Ring, engine: Engine, references: References | None) -> None:
        self._ring, self._engine, self._references = ring, engine, references
        self.depth = engine.lanes
        self._lanes = deque(range(engine.lanes))
        self._started: deque[tuple[Tensor, int, int, Reference | None]] = deque()

    def start(self, message: Frame | Tensor) -> None:
        """Put the part's tensor on a lane; PartError, SlotOverwritten or EngineError where that fails."""
        if not isinstance(message, Tensor):
            raise TypeError(f"infer got a {type(message).__name__}")
        reference = self._references(message.part.view) if self._references else None
        with self._ring.area(message.part, "tensor") as area:
            self._engine.submit(self._lanes[0], as_image(area, message.shape), reference)
        self._started.append((message, self._lanes.popleft(), time.monotonic_ns(), reference))

    def finish(self) -> Prediction:
        """Wait for the part that was started first and lay its outputs into its slot."""
        tensor, lane, started_ns, _ = self._started.popleft()
        try:
            outputs = self._engine.collect(lane)
        finally:
            self._lanes.append(lane)
        engine_ns = time.monotonic_ns() - started_ns
        shapes = {name: tuple(int(n) for n in output.shape) for name, output in outputs.items()}
        with self._ring.area(tensor.part, "outputs") as area:
            for name, array in as_outputs(area, shapes).items():
                np.copyto(array, outputs[name])
        return Prediction(
            part=tensor.part,
            outputs=shapes,
            to_frame=tensor.to_frame,
            registration_px=tensor.registration_px,
            engine_ns=engine_ns,
            done_ns=tensor.done_ns,
        )
