"""The infer stage: runs each judge's engine on the inputs of parts, with several batches in work at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..engines.base import Outputs
from ..errors import EngineError, EngineLost, PartError, SlotOverwritten
from ..memory.ring import as_outputs
from ..messages import Frame, Part, Prediction, Tensor, Unknown
from .batch import Batch, submit
from .judge_engine import JudgeEngine, Looks
from .loop import refuse
from .samples import Samples, blank_memory, samples_of, samples_to_warm


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
        self._batches: list[Batch] = []
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

        The first part then finds all memory allocated and all kernels loaded. Engines read a black picture in
        memory that is pinned like the ring's. The ring is left alone: after a restart, a slot may hold the very
        picture at which the engine crashed or hung. Left out are engines that do not start cold, and a judge
        without a single master. Of cameras whose frames have the same size and go to the same engines, one
        stands for all.
        """
        self._blank = blank_memory(self._cameras.values())
        for engine in self._engines:
            engine.pin(self._blank)
        alike = {
            (looks.frame, *(id(judge.engine) for judge in looks.judges)): looks
            for looks in self._cameras.values()
        }
        for looks in alike.values():
            for count in range(1, self.batch + 1):
                # All lanes at once, so that none gets the memory of another for its frames.
                submitted = [
                    submit(
                        self._engines,
                        lane,
                        [looks.judges] * count,
                        [samples_to_warm(looks, self._blank) for _ in range(count)],
                    )
                    for lane in range(self.lanes)
                ]
                for lane, engines in enumerate(submitted):
                    for engine in engines:
                        engine.collect(lane)

    def _judges(self, part: Part) -> Sequence[JudgeEngine]:
        return self._cameras[part.camera].judges

    def start(self, messages: Sequence[Frame | Tensor]) -> list[Unknown]:
        """Start the engines on a batch of parts, on an idle lane. Return the parts that cannot be judged."""
        self._settle({(message.part.camera, message.part.slot) for message in messages})
        refused: list[Unknown] = []
        tensors: list[Tensor] = []
        samples: list[Samples] = []
        for message in messages:
            if not isinstance(message, Tensor):
                raise TypeError(f"infer expected a Tensor, received a {type(message).__name__}")
            try:
                samples.append(samples_of(message, self._cameras[message.part.camera]))
                tensors.append(message)
            except EngineLost:
                raise
            except (PartError, SlotOverwritten, EngineError) as error:
                refused.append(refuse(message, error))
        if tensors:
            judges = [self._judges(tensor.part) for tensor in tensors]
            try:
                self._batches.append(Batch(self._engines, self._idle[0], tensors, judges, samples))
            except EngineLost:
                raise
            except EngineError as error:
                return refused + [refuse(tensor, error) for tensor in tensors]
            self._idle.popleft()
        return refused

    def _settle(self, slots: Collection[tuple[str, int]]) -> None:
        """Wait for the parts in work that lie in these slots of cameras, which have been leased anew since.

        Engines may write outputs straight into a slot. Those of a part that lost its slot must not come after
        those of the slot's next part.
        """
        for batch in self._batches:
            if any((tensor.part.camera, tensor.part.slot) in slots for tensor in batch.tensors):
                batch.collect()

    def ready(self, position: int, timeout_s: float = 0.0) -> bool:
        """Return whether `finish` would not wait for the batch at this position.

        If this step `waits`, wait for this for about `timeout_s`.
        """
        return self._batches[position].ready(timeout_s)

    def finish(self, position: int = 0) -> list[Prediction | Unknown]:
        """Wait for a batch, and write its outputs into the slots of its parts.

        `position` is the number of batches in work that were started before it. Returns a Prediction for each
        part, or Unknown if an engine failed on the part or its slot was lost.
        """
        batch = self._batches.pop(position)
        collected = batch.collect()
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
