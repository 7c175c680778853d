"""One promise for every engine: what goes in, what comes out, and what is said when it cannot."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from engines import changed, freed
from lines import until

import edge.engines
from edge.bundle import Golden, read_bundle
from edge.engines import open_engine, processor
from edge.engines.base import Engine, Sample, ask
from edge.errors import EngineError
from edge.recipe import EngineChoice

REAL = [(kind, precision) for kind in ("openvino", "onnxruntime") for precision in ("fp32", "int8")]


@pytest.fixture(params=REAL, ids=" ".join)
def real(request: pytest.FixtureRequest, tiny_bundle: Path) -> Iterator[Engine]:
    """An engine with a network, loaded."""
    kind, precision = request.param
    if kind == "onnxruntime":
        pytest.importorskip("onnxruntime")
    with open_engine(EngineChoice(kind=kind, precision=precision), read_bundle(tiny_bundle)) as engine:
        yield engine


@pytest.fixture(params=[*REAL, ("constant", "fp32")], ids=" ".join)
def engine(
    request: pytest.FixtureRequest, tiny_bundle: Path, constant_bundle: Callable[..., Path]
) -> Iterator[Engine]:
    """Every engine there is, loaded."""
    kind, precision = request.param
    folder = constant_bundle() if kind == "constant" else tiny_bundle
    if kind == "onnxruntime":
        pytest.importorskip("onnxruntime")
    choice = EngineChoice(kind=kind, precision="auto" if kind == "constant" else precision)
    with open_engine(choice, read_bundle(folder)) as engine:
        yield engine


@pytest.fixture
def cases(tiny_bundle: Path) -> list[Golden]:
    return read_bundle(tiny_bundle).golden()


def test_outputs_are_float32_by_name(engine: Engine, cases: list[Golden]) -> None:
    """Whichever engine runs, the rest of the line sees the same."""
    engine.submit(0, [Sample(cases[0].image, engine.reference(cases[0].master))])
    outputs = engine.collect(0)[0]
    assert {name: (array.shape, array.dtype.name) for name, array in outputs.items()} == {
        "map": ((1, 2, 16, 16), "float32"),
        "extents": ((1, 4, 16, 16), "float32"),
    }


def test_the_answer_is_that_of_the_model(real: Engine, cases: list[Golden]) -> None:
    """Every engine and precision computes what numpy computes, within one quantisation step."""
    for case in cases:
        real.submit(0, [Sample(case.image, real.reference(case.master))])
        found = real.collect(0)[0]
        assert np.abs(found["map"] - case.expected["map"]).max() < (0.005 if real.precision == "int8" else 1e-5)
        assert np.abs(found["extents"] - case.expected["extents"]).max() < 1e-5


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


@pytest.mark.parametrize("how", ["reversed", "every other row", "read-only"])
def test_any_layout_in_memory_is_judged_alike(real: Engine, cases: list[Golden], how: str) -> None:
    """A view into a bigger picture is as good as a copy."""
    image = cases[1].image
    views = {
        "reversed": image[..., ::-1].copy()[..., ::-1],
        "every other row": np.repeat(image, 2, axis=2)[:, :, ::2],
        "read-only": image.copy(),
    }
    views["read-only"].flags.writeable = False
    real.submit(0, [Sample(views[how], real.reference(cases[1].master))])
    assert real.collect(0)[0]["map"].max() > 0.5


def test_openvino_compiles_for_one_part_at_a_time(score_bundle: Path, tmp_path: Path) -> None:
    """Where a graph leaves the number free, it would be slower, and give the same."""
    folder = shutil.copytree(score_bundle, tmp_path / "free")
    free = changed(read_bundle(folder), freed)
    with open_engine(EngineChoice(kind="openvino"), free) as engine:
        inputs = engine._lanes[0][0].request.model_inputs
        assert [port.partial_shape.to_shape()[0] for port in inputs] == [1]
        assert ask(engine, free.golden()[0].image)["score"].shape == (1,)


def test_an_engine_has_the_threads_that_a_container_leaves_it(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One core of eight is one thread: eight would take turns, and stall in the middle of a part."""
    pytest.importorskip("onnxruntime")
    (tmp_path / "cpu.max").write_text("100000 100000")
    (tmp_path / "own").write_text("0::/\n")
    monkeypatch.setattr(processor, "GROUPS", tmp_path)
    monkeypatch.setattr(processor, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    bundle = read_bundle(tiny_bundle)
    with open_engine(EngineChoice(kind="openvino"), bundle) as engine:
        compiled = engine._lanes[0][0].request.get_compiled_model()
        assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    with open_engine(EngineChoice(kind="onnxruntime"), bundle) as engine:
        assert engine._judge.get_session_options().intra_op_num_threads == 1


def test_a_reference_tells_its_size(real: Engine, cases: list[Golden]) -> None:
    """So that the memory for masters can be limited; in INT8, OpenVINO keeps halves of floats."""
    size = 2 if (real.name, real.precision) == ("openvino", "int8") else 4
    assert real.reference(cases[0].master).nbytes == size * (64 * 64 + 16 * 16)


@pytest.mark.parametrize(
    ("array", "received"),
    [
        (np.zeros((1, 1, 64, 63), np.uint8), r"\(1, 1, 64, 63\) uint8"),
        (np.zeros((1, 3, 64, 64), np.uint8), r"\(1, 3, 64, 64\) uint8"),
        (np.zeros((64, 64), np.uint8), r"\(64, 64\) uint8"),
        (np.zeros((1, 1, 64, 64), np.float32), r"\(1, 1, 64, 64\) float32"),
    ],
    ids=["other size", "other colour", "no batch", "not uint8"],
)
@pytest.mark.parametrize("what", ["image", "master"])
def test_an_input_that_does_not_fit_is_refused(
    engine: Engine, cases: list[Golden], what: str, array: np.ndarray, received: str
) -> None:
    """The error says which input, what was expected and what came."""
    reference = engine.reference(cases[0].master)
    with pytest.raises(
        EngineError, match=rf"{what}: expected \(1, 1, 64, 64\) uint8 \(gray\), received {received}"
    ):
        engine.reference(array) if what == "master" else engine.submit(0, [Sample(array, reference)])


def test_a_comparator_without_a_master_is_refused(real: Engine, cases: list[Golden]) -> None:
    """A part is never judged against what was left from another one."""
    real.submit(0, [Sample(cases[0].image, real.reference(cases[0].master))])
    real.collect(0)
    with pytest.raises(EngineError, match="tiny compares with a master"):
        real.submit(0, [Sample(cases[0].image)])


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
def test_a_model_without_masters_judges_parts_alone(score_bundle: Path, kind: str) -> None:
    """It gives what numpy computes, on every lane; a master offered to it is refused."""
    bundle = read_bundle(score_bundle)
    usual, odd = bundle.golden()
    with open_engine(EngineChoice(kind=kind), bundle) as engine:
        engine.submit(0, [Sample(usual.image)])
        engine.submit(1, [Sample(odd.image)])
        for lane, case in ((1, odd), (0, usual)):
            found = engine.collect(lane)[0]
            assert {name: array.shape for name, array in found.items()} == bundle.manifest.outputs
            assert found["score"] == pytest.approx(case.expected["score"], abs=1e-5)
            assert np.abs(found["map"] - case.expected["map"]).max() < 1e-5
        with pytest.raises(EngineError, match="anomaly judges a part without a master"):
            engine.reference(usual.image)


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


def test_an_engine_can_be_loaded_again(tiny_bundle: Path, cases: list[Golden]) -> None:
    """After a failure the line loads it anew."""
    engine = open_engine(EngineChoice(), read_bundle(tiny_bundle))
    for _ in range(2):
        with engine:
            engine.submit(1, [Sample(cases[1].image, engine.reference(cases[1].master))])
            assert engine.collect(1)[0]["map"].max() > 0.5


def test_a_graph_that_is_no_graph_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    """Each engine says in its own words that it cannot load the file."""
    (tmp_path / "judge.fp32.onnx").write_bytes(b"not a graph")
    (tmp_path / "reference.fp32.onnx").write_bytes(b"not a graph")
    sound = read_bundle(tiny_bundle)
    for kind in ("openvino", "onnxruntime"):
        broken = type(sound)(folder=tmp_path, manifest=sound.manifest, digest="")
        with (
            pytest.raises(EngineError, match=f"{kind} cannot load"),
            open_engine(EngineChoice(kind=kind, precision="fp32"), broken),
        ):
            pass


def test_auto_takes_openvino_and_int8(tiny_bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The fastest there is, and the log says what was taken."""
    caplog.set_level(logging.INFO)
    engine = open_engine(EngineChoice(), read_bundle(tiny_bundle))
    assert (engine.name, engine.precision) == ("openvino", "int8")
    assert "engine openvino with int8, 2 lanes, for bundle tiny" in caplog.text


def test_auto_says_what_it_left_out(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without OpenVINO the next engine runs, and the log says how to get the faster one."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(edge.engines, "find_spec", lambda name: None if name == "openvino" else object())
    assert open_engine(EngineChoice(), read_bundle(tiny_bundle)).name == "onnxruntime"
    assert "engine openvino left out: openvino is not installed: pip install linejudge" in caplog.text


@pytest.mark.parametrize(
    ("kind", "install"), [("openvino", "pip install linejudge"), ("onnxruntime", r"linejudge\[onnxruntime\]")]
)
def test_a_missing_library_names_what_to_install(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, kind: str, install: str
) -> None:
    """The line engineer can copy the command."""
    monkeypatch.setattr(edge.engines, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=f"{kind} is not installed: .*{install}"):
        open_engine(EngineChoice(kind=kind), read_bundle(tiny_bundle))


def test_a_precision_that_the_bundle_lacks_is_refused(constant_bundle: Callable[..., Path]) -> None:
    """It is not silently replaced by another."""
    with pytest.raises(
        EngineError, match=r"engine\.precision 'int8': of bundle constant, constant can run fp32"
    ):
        open_engine(EngineChoice(precision="int8"), read_bundle(constant_bundle()))


def test_a_constant_never_stands_in_for_a_model(tiny_bundle: Path) -> None:
    """A recipe that was left on the test engine does not pass every part."""
    with pytest.raises(EngineError, match="engine 'constant' cannot run a bundle of method 'comparator'"):
        open_engine(EngineChoice(kind="constant"), read_bundle(tiny_bundle))


def test_a_constant_scores_as_it_was_told(constant_bundle: Callable[..., Path], cases: list[Golden]) -> None:
    """One cell of the first kind, everything else is clean."""
    with open_engine(EngineChoice(), read_bundle(constant_bundle(score=0.7))) as engine:
        engine.submit(0, [Sample(cases[0].image)])
        heat = engine.collect(0)[0]["map"]
    assert heat[0, 0, 8, 8] == np.float32(0.7)
    assert np.count_nonzero(heat) == 1


def test_a_constant_fails_on_the_parts_it_was_told(
    constant_bundle: Callable[..., Path], cases: list[Golden]
) -> None:
    """Each second part fails, its neighbours do not."""
    with open_engine(EngineChoice(), read_bundle(constant_bundle(fault="out of memory", every=2))) as engine:
        for failing in (False, True, False, True):
            engine.submit(1, [Sample(cases[0].image)])
            if failing:
                with pytest.raises(EngineError, match="out of memory"):
                    engine.collect(1)[0]
            else:
                assert engine.collect(1)[0]["map"].max() == 0


class Clock:
    """Time that passes only while somebody sleeps."""

    now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@pytest.mark.parametrize(
    ("every", "ended_ms"), [(1, [200, 200, 400, 400]), (2, [0, 200, 200, 400])], ids=["all", "each second part"]
)
def test_a_constant_delays_the_parts_it_was_told(
    constant_bundle: Callable[..., Path],
    cases: list[Golden],
    monkeypatch: pytest.MonkeyPatch,
    every: int,
    ended_ms: list[int],
) -> None:
    """The delay counts from submit, so two lanes wait at the same time."""
    monkeypatch.setattr("edge.engines.constant.time", clock := Clock())
    found = []
    with open_engine(EngineChoice(), read_bundle(constant_bundle(delay_ms=200, every=every))) as engine:
        for _ in range(2):
            for lane in (0, 1):
                engine.submit(lane, [Sample(cases[0].image)])
            for lane in (0, 1):
                engine.collect(lane)
                found.append(clock.now_ns // 10**6)
    assert found == ended_ms


def test_a_misspelt_fact_of_a_constant_is_refused(constant_bundle: Callable[..., Path]) -> None:
    """A test that means to delay does delay."""
    with pytest.raises(EngineError, match="delay_s"):
        open_engine(EngineChoice(), read_bundle(constant_bundle(delay_s=1)))


def test_choosing_an_engine_loads_no_library() -> None:
    """Stages that run no network do not pay for one."""
    script = "import sys, edge.engines; sys.exit(bool({'openvino', 'onnxruntime', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


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
