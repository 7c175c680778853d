"""The infer stage: each part gets the results of its own picture, or the reason why it has none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from infer_parts import (
    INPUT,
    OUTPUTS,
    REFUSED,
    SHAPE,
    WARPER,
    Means,
    compared,
    infer_of,
    judged,
    reason,
    said,
    tensor_of,
)
from parts import part_of

from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.engines.base import Engine
from edge.errors import EngineLost, PartError
from edge.memory.ring import Ring, as_outputs
from edge.messages import Tensor
from edge.recipe import EngineChoice
from edge.stages.judge_engine import JudgeEngine


def test_each_part_gets_its_own_result(ring: Ring, engine: Engine, textured: np.ndarray) -> None:
    """With all lanes in flight, the part with the spot is the one whose outputs show it, every time."""
    infer = infer_of(ring, compared(engine, lambda view: textured.reshape(SHAPE)))
    assert infer.lanes == 2
    spotted = textured.copy()
    spotted[20:28, 36:44] = 255
    pictures = [spotted if entry % 3 == 0 else textured for entry in range(12)]
    hot = []
    assert not infer.start([tensor_of(ring, 0, pictures[0])])
    for entry in range(12):
        if entry + 1 < 12:
            assert not infer.start([tensor_of(ring, entry + 1, pictures[entry + 1])])
        (prediction,) = infer.finish()
        assert prediction.part.entry == entry
        with ring.area(prediction.part, "outputs") as area:
            hot.append(bool(as_outputs(area, OUTPUTS)["map"].max() > 0.2))
    assert hot == [entry % 3 == 0 for entry in range(12)]


def test_a_tensor_of_a_later_part_is_not_judged(ring: Ring, engine: Engine, textured: np.ndarray) -> None:
    """A slot that was leased anew while its part was in flight gives no prediction."""
    infer = infer_of(ring, compared(engine, lambda view: textured.reshape(SHAPE)))
    assert not infer.start([tensor_of(ring, 0, textured)])
    for entry in range(1, 5):
        ring.lease(entry, published=entry)
    assert reason(infer) == "overwritten"
    assert not infer.start([tensor_of(ring, 5, textured)])
    assert judged(infer) == [5]


def test_a_lane_comes_back_after_a_failure(
    ring: Ring, constant_bundle: Callable[..., Path], textured: np.ndarray
) -> None:
    """An engine that fails on one part judges the next ones on all of its lanes."""
    bundle = read_bundle(constant_bundle(fault="device lost", every=2))
    with open_engine(EngineChoice(), bundle) as engine:
        infer = infer_of(ring, JudgeEngine(engine=engine, warper=WARPER))
        for entry in range(8):
            assert not infer.start([tensor_of(ring, entry, textured)])
            if entry % 2:
                assert reason(infer) == "engine: device lost"
            else:
                assert judged(infer) == [entry]


def test_a_view_without_a_master_is_refused(ring: Ring, engine: Engine, textured: np.ndarray) -> None:
    """A part of an unknown view is no prediction, and the part after it is."""

    def master(view: str) -> np.ndarray:
        if view != "a":
            raise PartError("view", f"no master for {view}")
        return textured.reshape(SHAPE)

    infer = infer_of(ring, compared(engine, master))
    message = tensor_of(ring, 0, textured)
    stranger = Tensor(
        part=part_of(0, slot=message.part.slot, generation=message.part.generation, view="z"),
        inputs=message.inputs,
        done_ns={},
    )
    (unknown,) = infer.start([stranger])
    assert (unknown.part, unknown.reason) == (stranger.part, "view")
    assert not infer.start([message])
    assert judged(infer) == [0]


def test_each_judge_says_what_it_has_to_say_in_its_own_place(
    ring: Ring, engine: Engine, anomaly: JudgeEngine, textured: np.ndarray
) -> None:
    """Two judges look at one part, each at its own input, and neither overwrites what the other said."""
    infer = infer_of(ring, compared(engine, lambda view: textured.reshape(SHAPE)), anomaly)
    assert not infer.start([tensor_of(ring, 0, textured, (INPUT, INPUT))])
    (prediction,) = infer.finish()
    assert prediction.inputs == (INPUT, INPUT)
    assert said(ring, prediction, 0, OUTPUTS)["map"].max() < 0.01
    found = said(ring, prediction, 1, {"score": (1,), "map": (1, 1, 16, 16)})
    assert found["score"] == pytest.approx(found["map"].mean(), abs=1e-5)
    assert found["score"] > 0.05


def test_a_judge_that_was_refused_the_part_is_left_out(
    ring: Ring, engine: Engine, anomaly: JudgeEngine, textured: np.ndarray
) -> None:
    """The other judges look at it all the same, and on the next part that judge is there again."""
    infer = infer_of(ring, compared(engine, lambda view: textured.reshape(SHAPE)), anomaly)
    for entry, inputs in enumerate(
        [(REFUSED, INPUT), (INPUT, REFUSED), (REFUSED, REFUSED), (INPUT, INPUT)] * 2
    ):
        assert not infer.start([tensor_of(ring, entry, textured, inputs)])
        (prediction,) = infer.finish()
        assert prediction.inputs == inputs
        if inputs[1] == INPUT:
            assert said(ring, prediction, 1, {"score": (1,)})["score"] > 0.05


def test_a_gpu_that_is_lost_over_a_master_ends_the_process(ring: Ring, textured: np.ndarray) -> None:
    """The part is not merely refused: no later one could be judged."""

    def lost(view: str) -> np.ndarray:
        raise EngineLost("the GPU does not answer")

    infer = infer_of(ring, JudgeEngine(engine=Means(), warper=WARPER, references=lost))  # type: ignore[arg-type]
    with pytest.raises(EngineLost):
        infer.start([tensor_of(ring, 0, textured)])
