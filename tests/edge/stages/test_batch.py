"""Batches of parts on lanes: who is ready first, who fails, and who has lost its slot meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from infer_parts import (
    INPUT,
    REFUSED,
    WARPER,
    Means,
    infer_of,
    judged,
    reason,
    said,
    tensor_of,
)

from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.engines.base import Sample
from edge.image.warp import Warper
from edge.manifest import InputSpec
from edge.memory.ring import Ring, as_outputs
from edge.messages import Prediction
from edge.recipe import EngineChoice
from edge.stages.judge_engine import JudgeEngine


def test_a_judge_that_fails_takes_no_lane_from_the_others(
    ring: Ring, anomaly: JudgeEngine, constant_bundle: Callable[..., Path], textured: np.ndarray
) -> None:
    """Of a part on which one judge failed there is no prediction, and the next part has one."""
    bundle = read_bundle(constant_bundle(fault="device lost", every=2))
    with open_engine(EngineChoice(), bundle) as failing:
        infer = infer_of(ring, anomaly, JudgeEngine(engine=failing, warper=WARPER))
        for entry in range(8):
            assert not infer.start([tensor_of(ring, entry, textured, (INPUT, INPUT))])
            if entry % 2:
                assert reason(infer) == "engine: device lost"
            else:
                assert judged(infer) == [entry]


def test_a_part_that_one_judge_cannot_begin_with_is_taken_back_from_the_others(
    ring: Ring, anomaly: JudgeEngine, constant_bundle: Callable[..., Path], textured: np.ndarray
) -> None:
    """A judge whose input does not fit its model costs that part, on every judge, and no lane."""
    with open_engine(EngineChoice(), read_bundle(constant_bundle(fault="device lost"))) as failing:
        fit = JudgeEngine(engine=failing, warper=WARPER)
        misfit = JudgeEngine(engine=failing, warper=Warper(None, InputSpec(height=8, width=8)))
        (unknown,) = infer_of(ring, fit, anomaly, misfit).start([tensor_of(ring, 0, textured, (INPUT,) * 3)])
        assert unknown.reason == "engine"
        assert "image: expected" in unknown.detail
        infer = infer_of(ring, fit, anomaly)
        assert not infer.start([tensor_of(ring, 1, textured, (INPUT, INPUT))])
        assert reason(infer) == "engine: device lost"


def test_parts_that_share_a_lane_each_get_their_own_result(ring: Ring, anomaly: JudgeEngine) -> None:
    """Two batches in flight, of three parts and of one: each part's slot holds what was said of its picture."""
    engine = Means()
    infer = infer_of(ring, JudgeEngine(engine=engine, warper=WARPER), anomaly)  # type: ignore[arg-type]
    assert infer.batch == 1  # of the judge that takes the fewest
    infer = infer_of(ring, JudgeEngine(engine=engine, warper=WARPER))  # type: ignore[arg-type]
    assert engine.pinned[-2:] == [(4, 64 * 64), (4, 8192)]
    tensors = [tensor_of(ring, entry, np.full((64, 64), 10 * (entry + 1), np.uint8)) for entry in range(4)]
    assert not infer.start(tensors[:3])
    assert not infer.start(tensors[3:])
    for wanted in ([0, 1, 2], [3]):
        for entry, prediction in zip(wanted, infer.finish(), strict=True):
            assert prediction.part.entry == entry
            assert said(ring, prediction, 0, {"score": (1,)})["score"] == 10 * (entry + 1)


def test_the_batch_that_is_done_first_is_finished_first(ring: Ring, anomaly: JudgeEngine) -> None:
    """A batch is ready once all judges that look at its parts are; those that were refused it do not count."""
    slow, quick = Means(), Means()
    judges = [JudgeEngine(engine=each, warper=WARPER) for each in (slow, quick)]  # type: ignore[arg-type]
    infer = infer_of(ring, *judges)
    white = np.full((64, 64), 200, np.uint8)
    assert not infer.start([tensor_of(ring, 0, white, (INPUT, INPUT))])
    assert not infer.start([tensor_of(ring, 1, white, (REFUSED, INPUT))])
    assert [infer.ready(position) for position in range(2)] == [False, False]
    quick.done = {0, 1}
    assert [infer.ready(position) for position in range(2)] == [False, True]
    (first,) = infer.finish(1)
    assert first.part.entry == 1
    assert not infer.start([tensor_of(ring, 2, white, (REFUSED, REFUSED))])
    assert [infer.ready(position) for position in range(2)] == [False, True]
    slow.done = {0}
    assert infer.ready(0)
    assert [infer.finish()[0].part.entry for _ in range(2)] == [0, 2]


def test_the_step_waits_if_all_engines_do(ring: Ring) -> None:
    """Else the loop asks it again and again."""
    patient, asked = Means(), Means()
    asked.waits = False
    judges = [JudgeEngine(engine=each, warper=WARPER) for each in (patient, asked)]  # type: ignore[arg-type]
    assert infer_of(ring, judges[0]).waits
    assert not infer_of(ring, *judges).waits


class _Straight(Means):
    """Writes outputs straight into the slots, like a GPU, and not before a lane is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: dict[int, Sample] = {}

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        (self.pending[lane],) = samples
        self.taken[lane] = [samples[0].image.copy()]

    def ready(self, lane: int, timeout_s: float = 0.0) -> bool:
        return lane not in self.pending

    def work_on(self, lane: int) -> dict[str, np.ndarray]:
        slot = self.pending.pop(lane).slot
        outputs = as_outputs(slot, {"score": (1,)})
        outputs["score"][:] = self.taken.pop(lane)[0].mean()
        return outputs

    def collect(self, lane: int) -> list[dict[str, np.ndarray]]:
        return [self.work_on(lane)]


def test_an_answer_never_comes_after_that_of_the_slots_next_part(ring: Ring) -> None:
    """The slot of a part in work was leased anew: its next part is started when the old answer has come."""
    engine = _Straight()
    infer = infer_of(ring, JudgeEngine(engine=engine, warper=WARPER))  # type: ignore[arg-type]
    old = tensor_of(ring, 0, np.full((64, 64), 10, np.uint8))
    assert not infer.start([old])
    for entry in (1, 2, 3):
        ring.lease(entry, published=entry)
    new = tensor_of(ring, 4, np.full((64, 64), 90, np.uint8))
    assert new.part.slot == old.part.slot
    assert not infer.ready(0)
    assert not infer.start([new])
    assert infer.ready(0)
    assert list(engine.pending) == [1]  # the new part alone
    (prediction,) = infer.finish(1)
    (gone,) = infer.finish(0)
    assert (gone.part.entry, gone.reason) == (0, "overwritten")
    assert said(ring, prediction, 0, {"score": (1,)})["score"] == 90


def test_a_part_that_is_gone_leaves_its_company_their_results(ring: Ring) -> None:
    """One of three slots was leased anew before they were started, another one while they were in flight."""
    infer = infer_of(ring, JudgeEngine(engine=Means(), warper=WARPER))  # type: ignore[arg-type]
    tensors = [tensor_of(ring, entry, np.full((64, 64), entry + 1, np.uint8)) for entry in range(3)]
    ring.lease(3, published=3)  # the last free slot
    ring.lease(4, published=4)  # that of the first part
    (gone,) = infer.start(tensors)
    assert (gone.part.entry, gone.reason) == (0, "overwritten")
    ring.lease(5, published=5)  # that of the second
    lost, judged = infer.finish()
    assert (lost.part.entry, lost.reason) == (1, "overwritten")
    assert isinstance(judged, Prediction)
    assert said(ring, judged, 0, {"score": (1,)})["score"] == 3


def test_an_engine_that_fails_on_a_batch_fails_on_all_of_it(ring: Ring) -> None:
    """None of the parts that shared the lane passes for judged; the next batch is judged."""
    infer = infer_of(ring, JudgeEngine(engine=Means(), warper=WARPER))  # type: ignore[arg-type]
    tensors = [tensor_of(ring, entry, np.full((64, 64), entry, np.uint8)) for entry in range(3)]
    assert not infer.start(tensors)
    assert [(outcome.part.entry, outcome.reason) for outcome in infer.finish()] == [
        (entry, "engine") for entry in range(3)
    ]
    assert not infer.start(tensors[1:])
    assert judged(infer) == [1, 2]
