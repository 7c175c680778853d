"""One infer for all cameras of a line: each camera's part gets its own result, and a bundle is loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from parts import part_of

from edge.engines.base import Outputs, Sample
from edge.image.warp import Warper
from edge.manifest import InputSpec
from edge.memory.ring import Ring, as_image, as_outputs
from edge.messages import Input, Prediction, Refused, Tensor
from edge.stages.infer import Infer
from edge.stages.judge_engine import JudgeEngine, Looks

SIDE = 16
WARPER = Warper(None, InputSpec(height=SIDE, width=SIDE))
INPUT = Input(to_frame=(1, 0, 0, 0, 1, 0), registration_px=0.0)
REFUSED = Refused(reason="dark", detail="")


class Means:
    """An engine whose score is the mean of its input; it notes how many samples each submit had."""

    lanes, batch, most_samples = 2, 8, 8
    waits = warps_frames = starts_cold = False

    def __init__(self) -> None:
        self.submits: list[int] = []
        self._found: dict[int, list[Outputs]] = {}

    def pin(self, memory: np.ndarray) -> None: ...

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        self.submits.append(len(samples))
        self._found[lane] = [{"score": np.array([each.image.mean()], np.float32)} for each in samples]

    def ready(self, lane: int, timeout_s: float = 0.0) -> bool:
        return lane in self._found

    def collect(self, lane: int) -> list[Outputs]:
        return self._found.pop(lane)


class Line:
    """An infer for several cameras, each with a ring of its own and with so many judges."""

    def __init__(self, folder: Path, engines: dict[str, list[Means]]) -> None:
        self.rings = {
            name: Ring.create(
                folder / name, slots=4, frame=8, tensors=[SIDE * SIDE] * len(each), outputs=[256] * len(each)
            )
            for name, each in engines.items()
        }
        looks = {
            name: Looks(
                ring=self.rings[name],
                frame=(SIDE, SIDE),
                judges=[JudgeEngine(engine=engine, warper=WARPER) for engine in each],  # type: ignore[arg-type]
            )
            for name, each in engines.items()
        }
        self.infer = Infer(looks)

    def tensor(self, camera: str, entry: int, *grey: int | None) -> Tensor:
        """A part of a camera with this number in its own ledger, whose judges see these grey levels."""
        ring = self.rings[camera]
        slot, generation = ring.lease(entry, published=entry)
        part = msgspec.structs.replace(part_of(entry, slot=slot, generation=generation), camera=camera)
        for number, level in enumerate(grey):
            with ring.area(part, "tensor", number) as area:
                as_image(area, (1, 1, SIDE, SIDE))[:] = 0 if level is None else level
        inputs = tuple(REFUSED if level is None else INPUT for level in grey)
        return Tensor(part=part, inputs=inputs, done_ns={})

    def scores(self, predictions: Sequence[object]) -> list[tuple[str, int, list[float]]]:
        """Of each part its camera, its number and what its judges said of it, as its slot has it."""
        found = []
        for prediction in predictions:
            assert isinstance(prediction, Prediction)
            part, said = prediction.part, []
            for number, input_ in enumerate(prediction.inputs):
                if isinstance(input_, Input):
                    with self.rings[part.camera].area(part, "outputs", number) as area:
                        said.append(float(as_outputs(area, {"score": (1,)})["score"][0]))
            found.append((part.camera, part.entry, said))
        return found


def test_parts_of_several_cameras_go_as_one_batch(tmp_path: Path) -> None:
    """They share a submit, and parts with the same number get the results of their own pictures."""
    engine = Means()
    line = Line(tmp_path, {"top": [engine], "side": [engine], "end": [engine]})
    tensors = [line.tensor(name, 0, level) for name, level in (("top", 10), ("side", 20), ("end", 30))]
    tensors.append(line.tensor("top", 1, 40))
    assert not line.infer.start(tensors)
    assert engine.submits == [4]
    found = line.scores(line.infer.finish())
    assert found == [("top", 0, [10]), ("side", 0, [20]), ("end", 0, [30]), ("top", 1, [40])]


def test_cameras_may_have_judges_of_their_own_beside_a_shared_one(tmp_path: Path) -> None:
    """Whoever was refused an input, or is not asked about a camera, shifts nobody else's result."""
    shared, own = Means(), Means()
    line = Line(tmp_path, {"top": [shared, own], "side": [shared]})
    tensors = [line.tensor("side", 0, 5), line.tensor("top", 0, None, 6), line.tensor("top", 1, 7, 8)]
    assert not line.infer.start(tensors)
    assert (shared.submits, own.submits) == ([2], [2])
    assert line.scores(line.infer.finish()) == [("side", 0, [5]), ("top", 0, [6]), ("top", 1, [7, 8])]


def test_a_batch_is_no_larger_than_any_camera_allows(tmp_path: Path) -> None:
    """A camera with two judges on one engine gives it two samples a part, and each gets its own result."""
    engine = Means()
    line = Line(tmp_path, {"top": [engine], "side": [engine, engine]})
    assert line.infer.batch == 4
    assert not line.infer.start([line.tensor("side", 0, 1, 2), line.tensor("top", 0, 3)])
    assert line.scores(line.infer.finish()) == [("side", 0, [1, 2]), ("top", 0, [3])]


@pytest.mark.parametrize("camera", ["top", "side"])
def test_a_slot_that_comes_round_waits_for_the_answer_about_its_own_camera_alone(
    tmp_path: Path, camera: str
) -> None:
    """Slots of different cameras have the same numbers and nothing to do with each other."""
    engine = Means()
    line = Line(tmp_path, {"top": [engine], "side": [engine]})
    assert not line.infer.start([line.tensor("top", 0, 1)])
    for entry in range(1, 4):
        line.rings["top"].lease(entry, published=entry)
    again = line.tensor(camera, 4 if camera == "top" else 0, 2)
    assert again.part.slot == 0
    assert not line.infer.start([again])
    collected = [lane for lane in range(2) if not engine.ready(lane)]
    assert len(collected) == (1 if camera == "top" else 0)
