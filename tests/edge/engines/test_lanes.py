"""A lane takes one request at a time, says when it is done, and keeps it apart from the other lanes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lines import until

from edge.bundle import Golden, read_bundle
from edge.engines import open_engine
from edge.engines.base import Engine, Sample, ask
from edge.errors import EngineError
from edge.recipe import EngineChoice


def test_lanes_keep_their_parts_apart(real: Engine, cases: list[Golden]) -> None:
    """Two parts in flight, collected in the other order, each get their own answer."""
    reference = real.reference(cases[0].master)
    for lane, case in enumerate(cases):
        real.submit(lane, [Sample(case.image, reference)])
    spotted, clean = real.collect(1)[0]["map"].max(), real.collect(0)[0]["map"].max()
    assert clean < 0.1 < 0.5 < spotted


def test_a_lane_compares_with_the_master_it_was_given_last(real: Engine, cases: list[Golden]) -> None:
    """Views may change from part to part, back and forth."""
    same, other = real.reference(cases[0].image), real.reference(255 - cases[0].image)
    highest = []
    for reference in (same, other, same):
        real.submit(0, [Sample(cases[0].image, reference)])
        highest.append(float(real.collect(0)[0]["map"].max()))
    assert highest[0] == highest[2] < 0.1 < 0.5 < highest[1]


def test_a_busy_lane_takes_no_second_part(engine: Engine, cases: list[Golden]) -> None:
    """A part in flight is not replaced by another."""
    reference = engine.reference(cases[0].master)
    engine.submit(0, [Sample(cases[0].image, reference)])
    with pytest.raises(EngineError, match="lane 0 is busy"):
        engine.submit(0, [Sample(cases[0].image, reference)])


def test_an_idle_lane_has_nothing_to_collect(engine: Engine) -> None:
    """An answer is never handed out twice."""
    for ask_of in (engine.collect, engine.ready):
        with pytest.raises(EngineError, match="lane 1 is idle"):
            ask_of(1)


def test_a_lane_says_when_its_result_is_there(real: Engine, cases: list[Golden]) -> None:
    """It is not there while the lane computes, comes without anybody waiting for it, and stays."""
    many = [Sample(cases[1].image, real.reference(cases[1].master))] * real.most_samples
    at_once = []
    for _ in range(20):
        real.submit(1, many)
        at_once.append(real.ready(1))
        until(lambda: real.ready(1), "the lane is done")
        assert real.ready(1)
        assert real.collect(1)[-1]["map"].max() > 0.5
    assert not all(at_once)


def test_a_wait_for_a_lane_ends_when_it_is_ready(real: Engine, cases: list[Golden]) -> None:
    """Long before its time is over, also for the last one of many samples."""
    assert real.waits
    reference = real.reference(cases[1].master)
    for count in (1, 5, 1):
        real.submit(1, [Sample(cases[1].image, reference)] * count)
        begin = time.monotonic()
        assert real.ready(1, timeout_s=1000)
        assert time.monotonic() - begin < 500
        assert len(real.collect(1)) == count


def test_a_wait_for_a_lane_ends_when_its_time_is_over(constant_bundle: Callable[..., Path]) -> None:
    """Then something else may be done, and the lane is not ready."""
    image = np.zeros((1, 1, 64, 64), np.uint8)
    with open_engine(EngineChoice(), read_bundle(constant_bundle(delay_ms=1_000_000))) as engine:
        engine.submit(0, [Sample(image, engine.reference(image))])
        assert not engine.ready(0, timeout_s=0.01)


def test_a_request_that_fails_is_ready_to_say_so(tiny_bundle: Path, cases: list[Golden]) -> None:
    """The error comes with `collect`, and then the lane is free."""
    with open_engine(EngineChoice(kind="openvino"), read_bundle(tiny_bundle)) as engine:
        many = [Sample(cases[1].image, engine.reference(cases[1].master))] * engine.most_samples
        said: list[str] = []

        def cancel_the_last() -> list[str]:
            """Return what was said. Nothing, if the last sample was done before."""
            engine.submit(0, many)
            engine._lanes[0][-1].request.cancel()
            assert engine.ready(0, timeout_s=100)
            try:
                engine.collect(0)
            except EngineError as error:
                said.append(str(error))
            return said

        until(cancel_the_last, "a request is cancelled before it is done")
        assert said[0].startswith("openvino failed on lane 0")
        engine.submit(0, many[:1])
        assert engine.collect(0)[0]["map"].max() > 0.5


def test_a_delayed_result_is_not_there_before_its_time(constant_bundle: Callable[..., Path]) -> None:
    """The other lane's, which has no delay, is."""
    image = np.zeros((1, 1, 64, 64), np.uint8)
    with open_engine(EngineChoice(), read_bundle(constant_bundle(delay_ms=10_000, every=2))) as engine:
        sample = Sample(image, engine.reference(image))
        for lane in (0, 1):
            engine.submit(lane, [sample])
        assert [engine.ready(lane) for lane in (0, 1)] == [True, False]


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
def test_several_samples_on_a_lane_are_each_computed(kind: str, tiny_bundle: Path) -> None:
    """As the tiles of a part are; another number of them comes next, and a lane that is busy says so."""
    bundle = read_bundle(tiny_bundle)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 1, 1, 64, 64), np.uint8)
    masters = rng.integers(0, 256, (2, 1, 1, 64, 64), np.uint8)
    with open_engine(EngineChoice(kind=kind, precision="fp32"), bundle) as engine:
        kept = [engine.reference(master) for master in masters]
        samples = [Sample(image, kept[number % 2]) for number, image in enumerate(images)]
        alone = [
            {name: output.copy() for name, output in ask(engine, one.image, one.reference).items()}
            for one in samples
        ]
        for count in (5, 2, 1, 4):
            engine.submit(1, samples[:count])
            with pytest.raises(EngineError, match="lane 1 is busy"):
                engine.submit(1, samples[:1])
            found = engine.collect(1)
            assert len(found) == count
            for one, expected in zip(found, alone, strict=False):
                assert all(np.array_equal(one[name], expected[name]) for name in expected)
        with pytest.raises(EngineError, match="lane 1 is idle"):
            engine.collect(1)
