"""Infer before the first part: every lane has run on batches of every size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from infer_parts import (
    INPUT,
    REFUSED,
    SHAPE,
    WARPER,
    Means,
    compared,
    infer_of,
    judged,
    tensor_of,
)

from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.engines.base import Engine
from edge.errors import PartError
from edge.memory.arrays import PAGE
from edge.memory.ring import Ring
from edge.messages import Prediction, Unknown
from edge.recipe import EngineChoice
from edge.stages.infer import Infer
from edge.stages.judge_engine import JudgeEngine, Looks
from edge.stages.references import References


class Blind(Means):
    """Does not look at its pictures, and remembers the memory that was pinned for it."""

    def __init__(self) -> None:
        super().__init__()
        self.memories: list[np.ndarray] = []

    def pin(self, memory: np.ndarray) -> None:
        self.memories.append(memory)

    def collect(self, lane: int) -> list[dict[str, np.ndarray]]:
        return [{"score": np.zeros(1, np.float32)} for _ in self.taken.pop(lane)]


def test_every_lane_is_warm_before_the_first_part(tmp_path: Path) -> None:
    """It has run batches of every size on a black picture, and has neither read nor written any slot.

    After a restart, a slot belongs to a part, and may hold the picture at which the last process crashed.
    """
    ring = Ring.create(tmp_path / "frames", slots=2, frame=96 * 80, tensors=[64 * 64] * 2, outputs=[4] * 2)
    rng = np.random.default_rng(0)
    areas = [
        (area, number)
        for area, count in (("frame", 1), ("tensor", 2), ("outputs", 2))
        for number in range(count)
    ]
    for area, number in areas:
        memory = ring.memory(area, number)  # type: ignore[arg-type]
        memory[:] = rng.integers(0, 256, memory.shape)
    before = [ring.memory(*area).copy() for area in areas]  # type: ignore[arg-type]
    warping, comparing = Blind(), Blind()
    warping.warps_frames = True
    master = np.full(SHAPE, 200, np.uint8)
    references = References(comparing, lambda view: master, 2**20)  # type: ignore[arg-type]
    references.warm(["a", "b"])
    warped = JudgeEngine(engine=warping, warper=WARPER)  # type: ignore[arg-type]
    compared = JudgeEngine(engine=comparing, warper=WARPER, references=references)  # type: ignore[arg-type]
    Infer({"camera": Looks(ring=ring, judges=[warped, compared], frame=(96, 80))}).warm()
    for engine, shape in ((warping, (96, 80)), (comparing, SHAPE)):
        assert [(lane, len(images)) for lane, images in engine.log] == [
            (lane, count) for count in (1, 2, 3) for lane in (0, 1)
        ]
        assert {image.shape for _, images in engine.log for image in images} == {shape}
        assert not engine.taken
        shown = [image for _, images in engine.log for image in images]
        assert not any(image.any() for image in shown)
        assert not any(np.shares_memory(image, ring.memory(*area)) for image in shown for area in areas)  # type: ignore[arg-type]
        (blank,) = [memory for memory in engine.memories if memory.ndim == 1]  # the others are the ring's
        assert blank.ctypes.data % PAGE == 0
        assert all(np.shares_memory(image, blank) for image in shown)
    for area, was in zip(areas, before, strict=True):
        assert np.array_equal(ring.memory(*area), was)  # type: ignore[arg-type]


def test_a_judge_without_a_master_is_not_warmed(ring: Ring, engine: Engine, anomaly: JudgeEngine) -> None:
    """It has nothing to compare with yet; the other judges are, and the lanes stay free."""

    def none(view: str) -> np.ndarray:
        raise PartError("view", f"no master for {view}")

    infer = infer_of(ring, compared(engine, none), anomaly)
    infer.warm()
    white = np.full((64, 64), 200, np.uint8)
    assert not infer.start([tensor_of(ring, 0, white, (REFUSED, INPUT))])
    assert judged(infer) == [0]


def test_a_constant_engine_counts_parts_alone(
    ring: Ring, anomaly: JudgeEngine, constant_bundle: Callable[..., Path]
) -> None:
    """It has nothing to warm, and would take a request before the first part for a part: the second fails."""
    white = np.full((64, 64), 200, np.uint8)
    with open_engine(EngineChoice(), read_bundle(constant_bundle(fault="device lost", every=2))) as failing:
        infer = infer_of(ring, JudgeEngine(engine=failing, warper=WARPER), anomaly)
        infer.warm()
        for entry, wanted in enumerate((Prediction, Unknown)):
            assert not infer.start([tensor_of(ring, entry, white, (INPUT, INPUT))])
            (outcome,) = infer.finish()
            assert isinstance(outcome, wanted)
