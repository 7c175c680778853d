"""Parts for the infer stage: a ring, the messages about its parts, and an engine that takes what tests give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from parts import part_of

from edge.engines.base import Engine, Sample
from edge.errors import EngineError
from edge.image.warp import Warper
from edge.manifest import InputSpec
from edge.memory.ring import Ring, as_image, as_outputs, outputs_nbytes
from edge.messages import Input, Prediction, Refused, Tensor, Unknown
from edge.stages.infer import Infer
from edge.stages.judge_engine import JudgeEngine, Looks
from edge.stages.references import References

SHAPE = (1, 1, 64, 64)
WARPER = Warper(None, InputSpec(height=64, width=64))
OUTPUTS = {"map": (1, 2, 16, 16), "extents": (1, 4, 16, 16)}
INPUT = Input(to_frame=(1, 0, 0, 0, 1, 0), registration_px=0.0)
REFUSED = Refused(reason="registration", detail="moved 40 px")


def ring_of(folder: Path) -> Ring:
    """Return a ring of four slots, for three judges."""
    return Ring.create(
        folder / "ring", slots=4, frame=8, tensors=[64 * 64] * 3, outputs=[outputs_nbytes(OUTPUTS)] * 3
    )


def tensor_of(
    ring: Ring, entry: int, picture: np.ndarray, inputs: tuple[Input | Refused, ...] = (INPUT,)
) -> Tensor:
    slot, generation = ring.lease(entry, published=entry)
    part = part_of(entry, slot=slot, generation=generation)
    for number in range(len(inputs)):
        with ring.area(part, "tensor", number) as area:
            as_image(area, SHAPE)[:] = picture
    return Tensor(part=part, inputs=inputs, done_ns={})


def judged(infer: Infer) -> list[int]:
    """The entries of the parts that were started first, all of which have their prediction."""
    outcomes = infer.finish()
    assert all(isinstance(outcome, Prediction) for outcome in outcomes)
    return [outcome.part.entry for outcome in outcomes]


def said(ring: Ring, prediction: Prediction, number: int, shapes: dict[str, tuple[int, ...]]) -> dict:
    """A copy of what one judge said of a part."""
    with ring.area(prediction.part, "outputs", number) as area:
        return {name: array.copy() for name, array in as_outputs(area, shapes).items()}


def infer_of(ring: Ring, *judges: JudgeEngine) -> Infer:
    return Infer({"camera": Looks(ring=ring, judges=judges, frame=(64, 64))})


def reason(infer: Infer) -> str:
    """Why the one part that was started first is unknown."""
    (unknown,) = infer.finish()
    assert isinstance(unknown, Unknown)
    return unknown.reason if unknown.reason != "engine" else f"engine: {unknown.detail}"


def compared(engine: Engine, master: Callable[[str], np.ndarray]) -> JudgeEngine:
    """A comparator's engine with its masters."""
    return JudgeEngine(engine=engine, warper=WARPER, references=References(engine, master, 2**20))


class Means:
    """An engine of three samples a lane, whose score is the picture's mean; a picture of zeros breaks it."""

    name, precision, lanes, batch, warps_frames = "means", "fp32", 2, 3, False
    waits = starts_cold = True

    def __init__(self) -> None:
        self.done: set[int] = set()  # lanes that say they are ready
        self.log: list[tuple[int, list[np.ndarray]]] = []  # each lane that was given images, with these
        self.taken: dict[int, list[np.ndarray]] = {}
        self.pinned: list[tuple[int, ...]] = []

    def pin(self, memory: np.ndarray) -> None:
        self.pinned.append(memory.shape)

    def reference(self, master: np.ndarray) -> np.ndarray:
        return master

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        self.taken[lane] = [sample.image for sample in samples]
        self.log.append((lane, self.taken[lane]))
        self.warps = [sample.warp for sample in samples]
        self.regions = [sample.region for sample in samples]
        self.slots = [sample.slot for sample in samples]

    def ready(self, lane: int, timeout_s: float = 0.0) -> bool:
        return lane in self.done

    def collect(self, lane: int) -> list[dict[str, np.ndarray]]:
        images = self.taken.pop(lane)
        if not all(image.any() for image in images):
            raise EngineError("a picture of zeros")
        return [{"score": np.array([image.mean()], np.float32)} for image in images]
