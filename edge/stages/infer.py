"""The infer stage: runs each judge's engine on the inputs of parts, with several batches in work at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Union

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


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What infer has of one camera: the ring with its frames, their shape, and the judges that inspect them.

    `frame` is `(H, W)` or `(H, W, 3)`. Judges of the same bundle, of this or another camera, share an engine.
    """

    ring: Ring
    frame: tuple[int, ...]
    judges: Sequence[JudgeEngine]

    def samples_for(self, engine: Engine) -> int:
        """Return the number of samples that one part gives to an engine."""
        return sum(judge.tiles for judge in self.judges if judge.engine is engine)


#: The samples of a part, for each judge of its camera; none for a judge whose input was refused.
_Samples = list[list[Sample]]
#: Outputs or an error, by the place of a part in its batch and the number of the judge.
_Collected = dict[tuple[int, int], Union[Outputs, EngineError]]  # noqa: UP007  (read at run time)


@dataclass
class _Batch:
    """The parts that the engines work on together, on the lane with the number `lane`."""

    lane: int
    started_ns: int
    tensors: list[Tensor]
    collected: _Collected | None = None  # None until the engines were waited for


class Infer:
    """Runs the judges' engines on batches of parts, of all cameras. A lane works on one batch at a time."""

    def __init__(self, cameras: Mapping[str, Looks]) -> None:
        """`cameras` has what belongs to each camera, by the camera's name."""
        self._cameras = cameras
        judges = [judge for looks in cameras.values() for judge in looks.judges]
        self._engines = list({id(judge.engine): judge.engine for judge in judges}.values())
        self.lanes = min(engine.lanes for engine in self._engines)
        self.batch = min(
            max(1, engine.batch // max(looks.samples_for(engine) for looks in cameras.values()))
            for engine in self._engines
        )
        self._idle = deque(range(self.lanes))
        # In the order of their starts.
        self._batches: list[_Batch] = []
        self.waits = all(engine.waits for engine in self._engines)
        for looks in cameras.values():
            for number, judge in enumerate(looks.judges):
                judge.engine.pin(looks.ring.memory("tensor", number))
                if judge.fills_slot:
                    judge.engine.pin(looks.ring.memory("outputs", number))
                if judge.engine.warps_frames:
                    judge.engine.pin(looks.ring.memory("frame"))

    def warm(self) -> None:
        """Run every lane on batches of every size. Raise EngineError if an engine cannot do that.

        The first part then finds all memory allocated, all kernels loaded and all pages mapped. Engines read
        whatever lies in the ring's first slot. Nothing is written to the ring, since after a restart its slots
        may belong to parts. Left out are engines that do not start cold, and a judge without a single master.
        Of cameras whose frames have the same size and go to the same engines, one stands for all.
        """
        alike = {
            (looks.frame, *(id(judge.engine) for judge in looks.judges)): looks
            for looks in self._cameras.values()
        }
        for looks in alike.values():
            for count in range(1, self.batch + 1):
                # All lanes at once, so that none gets the memory of another for its frames.
                for lane in range(self.lanes):
                    samples = [self._any_samples(looks) for _ in range(count)]
                    self._submit(lane, [looks.judges] * count, samples)
                for lane in range(self.lanes):
                    for engine in self._engines:
                        if any(judge.can_warm and judge.engine is engine for judge in looks.judges):
                            engine.collect(lane)

    def _any_samples(self, looks: Looks) -> _Samples:
        """Return samples for each judge's engine as of a part, of what lies in the ring's first slot."""
        samples: _Samples = []
        region = Region()
        for number, judge in enumerate(looks.judges):
            if not judge.can_warm:
                samples.append([])
                continue
            references = judge.references.latest() if judge.references else [None] * judge.tiles
            image, warp = as_image(looks.ring.memory("tensor", number)[0], judge.warper.shape), None
            if judge.engine.warps_frames:
                image, warp = (
                    as_image(looks.ring.memory("frame")[0], looks.frame),
                    judge.warper.warp(looks.frame),
                )
                region.add(warp)
            shown = _tiles(judge.grid, image, warp)
            samples.append(
                [Sample(tile, of, how, region) for (tile, how), of in zip(shown, references, strict=True)]
            )
        return samples

    def _judges(self, part: Part) -> Sequence[JudgeEngine]:
        return self._cameras[part.camera].judges

    def start(self, messages: Sequence[Frame | Tensor]) -> list[Unknown]:
        """Start the engines on a batch of parts, on an idle lane. Return the parts that cannot be judged."""
        self._settle({(message.part.camera, message.part.slot) for message in messages})
        refused: list[Unknown] = []
        tensors: list[Tensor] = []
        samples: list[_Samples] = []
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
                self._submit(self._idle[0], [self._judges(tensor.part) for tensor in tensors], samples)
            except EngineLost:
                raise
            except EngineError as error:
                return refused + [refuse(tensor, error) for tensor in tensors]
            self._batches.append(_Batch(self._idle.popleft(), time.monotonic_ns(), tensors))
        return refused

    def _settle(self, slots: Collection[tuple[str, int]]) -> None:
        """Wait for the parts in work that lie in these slots of cameras, which have been leased anew since.

        Engines may write outputs straight into a slot. Those of a part that lost its slot must not come after
        those of the slot's next part.
        """
        for batch in self._batches:
            if any((tensor.part.camera, tensor.part.slot) in slots for tensor in batch.tensors):
                self._collect(batch)

    def _samples(self, tensor: Tensor) -> _Samples:
        """Return the part's samples for each judge's engine, one a tile; none if its input was refused."""
        samples: _Samples = []
        region = Region()  # of the frame, for all judges
        ring = self._cameras[tensor.part.camera].ring
        for number, (judge, input_) in enumerate(zip(self._judges(tensor.part), tensor.inputs, strict=True)):
            if isinstance(input_, Refused):
                samples.append([])
                continue
            references = judge.references(tensor.part.view) if judge.references else [None] * judge.tiles
            with ring.area(tensor.part, "tensor", number) as area:
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
        if not self._judges(part)[number].fills_slot:
            return None
        with self._cameras[part.camera].ring.area(part, "outputs", number) as area:
            return area

    def _from_frame(
        self, part: Part, judge: JudgeEngine, input_: Input, out: Image
    ) -> tuple[Image, Warp | None]:
        """Return the image and the warp for an engine whose input is not in the part's slot.

        If the engine can warp, these are the frame and its warp. Otherwise, the frame is warped into `out`, and
        `out` is returned with None. That happens if a restarted infer uses an engine that cannot warp.
        """
        looks = self._cameras[part.camera]
        warp = judge.warper.warp_by(looks.frame, input_.to_frame)
        with looks.ring.area(part, "frame") as area:
            frame = as_image(area, looks.frame)
            if judge.engine.warps_frames:
                return frame, warp
            warp.apply(frame, out, judge.references.master(part.view) if judge.references else None)
        return out, None

    def _submit(self, lane: int, judges: Sequence[Sequence[JudgeEngine]], samples: Sequence[_Samples]) -> None:
        """Submit to each engine the samples of all its judges, part by part.

        `judges` has the judges of each part. If one engine fails, discard the work of the others.
        """
        submitted: list[Engine] = []
        for engine in self._engines:
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

    def _asked(self, engine: Engine, batch: _Batch) -> list[tuple[int, int]]:
        """Return the places of the parts and the numbers of the judges for which an engine works, in order."""
        return [
            (place, number)
            for place, tensor in enumerate(batch.tensors)
            for number, judge in enumerate(self._judges(tensor.part))
            if judge.engine is engine and not isinstance(tensor.inputs[number], Refused)
        ]

    def ready(self, position: int, timeout_s: float = 0.0) -> bool:
        """Return whether `finish` would not wait for the batch at this position.

        If this step `waits`, wait for this for about `timeout_s`.
        """
        batch = self._batches[position]
        return batch.collected is not None or all(
            engine.ready(batch.lane, timeout_s) for engine in self._engines if self._asked(engine, batch)
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
        for place, tensor in enumerate(batch.tensors):
            part = tensor.part
            try:
                for number in range(len(tensor.inputs)):
                    self._write(part, number, collected.get((place, number)))
            except (SlotOverwritten, EngineError) as error:
                outcomes.append(refuse(tensor, error))
            else:
                done_ns = tensor.done_ns
                outcomes.append(
                    Prediction(
                        part=part,
                        inputs=tensor.inputs,
                        health=tensor.health,
                        engine_ns=engine_ns,
                        done_ns=done_ns,
                    )
                )
        return outcomes

    def _collect(self, batch: _Batch) -> _Collected:
        """Wait for the engines of a batch, unless that was done. Return what they said."""
        if batch.collected is None:
            batch.collected = {}
            for engine in self._engines:
                batch.collected.update(self._collect_from(engine, batch))
        return batch.collected

    def _collect_from(self, engine: Engine, batch: _Batch) -> _Collected:
        """Wait for an engine. Return its outputs or its error for each part and judge."""
        asked = self._asked(engine, batch)
        if not asked:
            return {}
        try:
            outputs = iter(engine.collect(batch.lane))
            found: _Collected = {}
            for place, number in asked:
                judge = self._judges(batch.tensors[place].part)[number]
                tiles = list(islice(outputs, judge.tiles))
                found[place, number] = judge.grid.join(tiles, judge.stride) if judge.grid else tiles[0]
            return found
        except EngineLost:
            raise
        except EngineError as error:
            return dict.fromkeys(asked, error)

    def _write(self, part: Part, number: int, found: Outputs | EngineError | None) -> None:
        """Write a judge's outputs into the part's slot. Raise `found` if it is an error; ignore None."""
        if isinstance(found, EngineError):
            raise found
        if found is None:
            return
        gallery = self._judges(part)[number].gallery
        outputs = gallery.score(found) if gallery else found
        shapes = {name: output.shape for name, output in outputs.items()}
        with self._cameras[part.camera].ring.area(part, "outputs", number) as area:
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
