"""The infer stage: runs each judge's engine on the inputs of parts, with several batches in work at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Engine, Image, Outputs, Region, Sample
from ..errors import EngineError, EngineLost, PartError, SlotOverwritten
from ..image.warp import Warp, Warper
from ..judges.gallery import Gallery
from ..memory.ring import Ring, as_image, as_outputs
from ..messages import Frame, Input, Part, Prediction, Refused, Tensor, Unknown
from ..tiles import Grid
from .loop import refuse
from .references import References


@dataclass(frozen=True, kw_only=True)
class JudgeEngine:
    """A judge's engine, the warper that makes the engine's inputs, and what the engine compares parts with."""

    engine: Engine
    warper: Warper
    references: References | None = None  # of the masters, for a model that compares parts with a master
    gallery: Gallery | None = None  # for a model that compares parts with drawings
    grid: Grid | None = None  # how the picture is cut into tiles; None: the engine takes it as it is
    stride: int = 1  # input pixels between neighbouring cells of the map

    @property
    def tiles(self) -> int:
        """The number of samples that the engine computes for a part."""
        return self.grid.count if self.grid else 1

    @property
    def can_warm(self) -> bool:
        """Whether it is worth to run the engine before parts come, and there is something to run it on."""
        return self.engine.starts_cold and (self.references is None or bool(self.references.latest()))

    @property
    def fills_slot(self) -> bool:
        """Whether the engine's outputs are those that the slot takes, neither joined nor scored first."""
        return self.grid is None and self.gallery is None


#: A judge's outputs, or its error, by each part's number in the ledger.
_Collected = dict[int, Outputs | EngineError]


@dataclass
class _Batch:
    """The parts that the engines work on together, on the lane with the number `lane`."""

    lane: int
    started_ns: int
    tensors: list[Tensor]
    collected: list[_Collected] | None = None  # for each judge; None until its engine was waited for

    def entries(self, number: int) -> list[int]:
        """Return the numbers in the ledger of the parts that the judge `number` was not refused."""
        return [each.part.entry for each in self.tensors if not isinstance(each.inputs[number], Refused)]


class Infer:
    """Runs the judges' engines on batches of parts. Each lane of an engine works on one batch at a time."""

    def __init__(self, ring: Ring, judges: Sequence[JudgeEngine], frame: tuple[int, ...]) -> None:
        """`frame` is the shape of the frames in the ring: `(H, W)` or `(H, W, 3)`."""
        self._ring, self._judges, self._frame = ring, judges, frame
        self.lanes = min(judge.engine.lanes for judge in judges)
        self.batch = min(max(1, judge.engine.batch // judge.tiles) for judge in judges)
        self._idle = deque(range(self.lanes))
        # In the order of their starts.
        self._batches: list[_Batch] = []
        self.waits = all(judge.engine.waits for judge in judges)
        for number, judge in enumerate(judges):
            judge.engine.pin(ring.memory("tensor", number))
            if judge.fills_slot:
                judge.engine.pin(ring.memory("outputs", number))
            if judge.engine.warps_frames:
                judge.engine.pin(ring.memory("frame"))

    def warm(self) -> None:
        """Run every lane on batches of every size. Raise EngineError if an engine cannot do that.

        The first part then finds all memory allocated, all kernels loaded and all pages mapped. Engines read
        whatever lies in the ring's first slot. Nothing is written to the ring, since after a restart its slots
        may belong to parts. Left out are engines that do not start cold, and a judge without a single master.
        """
        for count in range(1, self.batch + 1):
            # All lanes at once, so that none gets the memory of another for its frames.
            for lane in range(self.lanes):
                self._submit(lane, [self._any_samples() for _ in range(count)])
            for lane in range(self.lanes):
                for judge in self._judges:
                    if judge.can_warm:
                        judge.engine.collect(lane)

    def _any_samples(self) -> list[list[Sample]]:
        """Return samples for each judge's engine as of a part, of what lies in the ring's first slot."""
        samples: list[list[Sample]] = []
        region = Region()
        for number, judge in enumerate(self._judges):
            if not judge.can_warm:
                samples.append([])
                continue
            references = judge.references.latest() if judge.references else [None] * judge.tiles
            image, warp = as_image(self._ring.memory("tensor", number)[0], judge.warper.shape), None
            if judge.engine.warps_frames:
                image, warp = (
                    as_image(self._ring.memory("frame")[0], self._frame),
                    judge.warper.warp(self._frame),
                )
                region.add(warp)
            shown = _tiles(judge.grid, image, warp)
            samples.append(
                [Sample(tile, of, how, region) for (tile, how), of in zip(shown, references, strict=True)]
            )
        return samples

    def start(self, messages: Sequence[Frame | Tensor]) -> list[Unknown]:
        """Start the engines on a batch of parts, on an idle lane. Return the parts that cannot be judged."""
        self._settle({message.part.slot for message in messages})
        refused: list[Unknown] = []
        tensors: list[Tensor] = []
        # For each part, a list with the samples for each judge.
        samples: list[list[list[Sample]]] = []
        for message in messages:
            if not isinstance(message, Tensor):
                raise TypeError(f"infer expected a Tensor, received a {type(message).__name__}")
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

    def _settle(self, slots: Collection[int]) -> None:
        """Wait for the parts in work that lie in these slots, which have been leased anew since.

        Engines may write outputs straight into a slot. Those of a part that lost its slot must not come after
        those of the slot's next part.
        """
        for batch in self._batches:
            if any(tensor.part.slot in slots for tensor in batch.tensors):
                self._collect(batch)

    def _samples(self, tensor: Tensor) -> list[list[Sample]]:
        """Return the part's samples for each judge's engine, one a tile; none if its input was refused."""
        samples: list[list[Sample]] = []
        region = Region()  # of the frame, for all judges
        for number, (judge, input_) in enumerate(zip(self._judges, tensor.inputs, strict=True)):
            if isinstance(input_, Refused):
                samples.append([])
                continue
            references = judge.references(tensor.part.view) if judge.references else [None] * judge.tiles
            with self._ring.area(tensor.part, "tensor", number) as area:
                image, warp = as_image(area, judge.warper.shape), None
                if not input_.in_slot:
                    image, warp = self._from_frame(tensor.part, judge, input_, image)
                if warp is not None:
                    region.add(warp)
                slot = self._slot(tensor.part, number)
                shown = zip(_tiles(judge.grid, image, warp), references, strict=True)
                samples.append([Sample(tile, of, how, region, slot) for (tile, how), of in shown])
        return samples

    def _slot(self, part: Part, number: int) -> NDArray[np.uint8] | None:
        """Return the area of the part's slot that takes the outputs of a judge's engine as they are, if any."""
        if not self._judges[number].fills_slot:
            return None
        with self._ring.area(part, "outputs", number) as area:
            return area

    def _from_frame(
        self, part: Part, judge: JudgeEngine, input_: Input, out: Image
    ) -> tuple[Image, Warp | None]:
        """Return the image and the warp for an engine whose input is not in the part's slot.

        If the engine can warp, these are the frame and its warp. Otherwise, the frame is warped into `out`, and
        `out` is returned with None. That happens if a restarted infer uses an engine that cannot warp.
        """
        warp = judge.warper.warp_by(self._frame, input_.to_frame)
        with self._ring.area(part, "frame") as area:
            frame = as_image(area, self._frame)
            if judge.engine.warps_frames:
                return frame, warp
            warp.apply(frame, out, judge.references.master(part.view) if judge.references else None)
        return out, None

    def _submit(self, lane: int, samples: Sequence[Sequence[Sequence[Sample]]]) -> None:
        """Submit each judge's samples to its engine. If one engine fails, discard the work of the others."""
        submitted: list[JudgeEngine] = []
        for number, judge in enumerate(self._judges):
            shown = [sample for each in samples for sample in each[number]]
            try:
                if shown:
                    judge.engine.submit(lane, shown)
                    submitted.append(judge)
            except EngineError:
                for other in submitted:
                    with suppress(EngineError):
                        other.engine.collect(lane)
                raise

    def ready(self, position: int, timeout_s: float = 0.0) -> bool:
        """Return whether `finish` would not wait for the batch at this position.

        If this step `waits`, wait for this for about `timeout_s`.
        """
        batch = self._batches[position]
        return batch.collected is not None or all(
            judge.engine.ready(batch.lane, timeout_s)
            for number, judge in enumerate(self._judges)
            if batch.entries(number)
        )

    def finish(self, position: int = 0) -> list[Prediction | Unknown]:
        """Wait for a batch, and write its outputs into the slots of its parts.

        `position` is the number of batches in work that were started before it. Returns a Prediction for each
        part, or Unknown if an engine failed on the part or its slot was lost.
        """
        batch = self._batches.pop(position)
        collected = self._collect(batch)
        self._idle.append(batch.lane)
        engine_ns = time.monotonic_ns() - batch.started_ns
        outcomes: list[Prediction | Unknown] = []
        for tensor in batch.tensors:
            part = tensor.part
            try:
                for number, outputs in enumerate(collected):
                    self._write(part, number, outputs.get(part.entry))
            except (SlotOverwritten, EngineError) as error:
                outcomes.append(refuse(tensor, error))
            else:
                done_ns = tensor.done_ns
                outcomes.append(
                    Prediction(part=part, inputs=tensor.inputs, engine_ns=engine_ns, done_ns=done_ns)
                )
        return outcomes

    def _collect(self, batch: _Batch) -> list[_Collected]:
        """Wait for the engines of a batch, unless that was done. Return what they said, for each judge."""
        if batch.collected is None:
            batch.collected = [self._collect_from(number, batch) for number in range(len(self._judges))]
        return batch.collected

    def _collect_from(self, number: int, batch: _Batch) -> _Collected:
        """Wait for a judge's engine. Return its outputs or its error for each part."""
        entries = batch.entries(number)
        if not entries:
            return {}
        judge = self._judges[number]
        try:
            found = judge.engine.collect(batch.lane)
            if judge.grid:
                each = [found[start : start + judge.tiles] for start in range(0, len(found), judge.tiles)]
                found = [judge.grid.join(tiles, judge.stride) for tiles in each]
            return dict(zip(entries, found, strict=True))
        except EngineLost:
            raise
        except EngineError as error:
            return dict.fromkeys(entries, error)

    def _write(self, part: Part, number: int, found: Outputs | EngineError | None) -> None:
        """Write a judge's outputs into the part's slot. Raise `found` if it is an error; ignore None."""
        if isinstance(found, EngineError):
            raise found
        if found is None:
            return
        gallery = self._judges[number].gallery
        outputs = gallery.score(found) if gallery else found
        shapes = {name: output.shape for name, output in outputs.items()}
        with self._ring.area(part, "outputs", number) as area:
            for name, array in as_outputs(area, shapes).items():
                if outputs[name].ctypes.data != array.ctypes.data:  # else the engine wrote it there
                    np.copyto(array, outputs[name])


def _tiles(grid: Grid | None, image: Image, warp: Warp | None) -> list[tuple[Image, Warp | None]]:
    """Return the image and the warp for each tile of a part: tiles of the image, or windows of the warp."""
    if grid is None:
        return [(image, warp)]
    if warp is None:
        return [(tile, None) for tile in grid.cut(image)]
    return [(image, warp.window(*place, grid.height, grid.width)) for place in grid.places]
