"""One promise for every engine: what goes in, what comes out, and what is said when it cannot."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from engines import changed, freed

from edge.bundle import Golden, read_bundle
from edge.engines import open_engine, processor
from edge.engines.base import Engine, Sample, ask
from edge.errors import EngineError
from edge.recipe import EngineChoice


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
