"""A line judges with an engine that reproduced the golden frames, more slowly if need be, or not at all."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from drafts import describe_again
from lines import UNHURRIED, write_boards, write_recipe
from onnx import numpy_helper
from told import Line as Told

from edge.bundle import Bundle, read_bundle
from edge.engines import processor, select_engine
from edge.errors import BundleError, EngineError, NotReproduced
from edge.judges.arming import armed_engine
from edge.judges.judge import read_line
from edge.line.supervisor import Line as RealLine
from edge.messages import Verdict
from edge.recipe import EngineChoice


@pytest.fixture
def ruined(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """The tiny bundle with an INT8 graph whose step is far too wide."""
    return read_bundle(with_step(Path(shutil.copytree(tiny_bundle, tmp_path / "ruined")), 0.4))


def with_step(bundle: Path, step: float) -> Path:
    """Change the step of a tiny bundle's INT8 judge in place."""
    model = onnx.load(bundle / "judge.int8.onnx")
    (constant,) = (tensor for tensor in model.graph.initializer if tensor.name == "step")
    constant.CopyFrom(numpy_helper.from_array(np.array(step, np.float32), "step"))
    onnx.save(model, bundle / "judge.int8.onnx")
    describe_again(bundle)
    return bundle


def test_a_sound_int8_engine_is_taken(tiny_bundle: Path) -> None:
    """As the fastest; nothing is left out but what is not installed here."""
    with armed_engine(EngineChoice(), read_bundle(tiny_bundle)) as armed:
        assert (armed.engine.name, armed.engine.precision) == ("openvino", "int8")
    assert set(armed.left_out) <= {"tensorrt", "tensorrt_rtx"}
    assert armed.fell_back == ()


@pytest.mark.parametrize("kind", ["auto", "openvino"])
def test_fp32_is_taken_where_int8_is_not_reproduced(
    ruined: Bundle, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The line judges rightly, and more slowly; log and left-out engines name frame and difference."""
    with armed_engine(EngineChoice(kind=kind), ruined) as armed:
        assert (armed.engine.name, armed.engine.precision) == ("openvino", "fp32")
    assert "golden frame golden/spotted.png on openvino int8: map differs by" in armed.left_out["openvino int8"]
    assert armed.fell_back == ("openvino int8",)
    assert "openvino int8 left out, the next precision is tried" in caplog.text


def test_a_precision_that_is_asked_for_is_refused(ruined: Bundle) -> None:
    """Who names it wants it, and is told that it does not judge rightly here."""
    with (
        pytest.raises(NotReproduced, match="on openvino int8: map differs by"),
        armed_engine(EngineChoice(kind="openvino", precision="int8"), ruined),
    ):
        pass
    with (
        pytest.raises(EngineError, match=r"on openvino int8: map differs .*on onnxruntime int8: map differs"),
        armed_engine(EngineChoice(precision="int8"), ruined),
    ):
        pass


def test_nothing_is_taken_where_no_engine_reproduces_the_golden_frames(ruined: Bundle) -> None:
    """There is nothing left to judge with, and the error says of each engine why."""
    tight = {"int8": {"map": 0.0, "extents": 0.0, "score": 0.0}, "fp32": {"map": -1, "extents": 0, "score": 0}}
    manifest = msgspec.structs.replace(ruined.manifest, tolerances=tight)
    bundle = Bundle(folder=ruined.folder, manifest=manifest, digest=ruined.digest)
    said = r"^no engine can run .*on openvino fp32.*on onnxruntime fp32"
    with pytest.raises(EngineError, match=said), armed_engine(EngineChoice(), bundle):
        pass
    with (
        pytest.raises(NotReproduced, match="on openvino fp32"),
        armed_engine(EngineChoice(kind="openvino"), bundle),
    ):
        pass


@pytest.fixture
def damaged(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """The tiny bundle with an INT8 graph that no library can load."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "damaged"))
    (folder / "judge.int8.onnx").write_bytes(b"no graph")
    describe_again(folder)
    return read_bundle(folder)


def test_an_engine_that_cannot_load_is_replaced_by_the_next(
    damaged: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    """With `auto` the line judges on. Log and left-out engines say that it should be faster, and why not."""
    with armed_engine(EngineChoice(), damaged) as armed:
        assert (armed.engine.name, armed.engine.precision) == ("onnxruntime", "fp32")
    assert "openvino cannot load" in armed.left_out["openvino"]
    assert armed.fell_back == ("openvino",)
    assert "engine openvino left out: " in caplog.text


def test_an_engine_that_the_recipe_names_is_not_replaced(damaged: Bundle) -> None:
    """Whoever names it wants it; the error names the key."""
    said = r"(?s)engine\.kind 'openvino': openvino cannot load.*; or set engine\.kind to 'auto'"
    with pytest.raises(EngineError, match=said), armed_engine(EngineChoice(kind="openvino"), damaged):
        pass


def test_onnx_runtime_takes_fp32_first(tiny_bundle: Path) -> None:
    """It computes INT8 in float, and more slowly; asked for by name it does that."""
    bundle = read_bundle(tiny_bundle)
    assert select_engine(EngineChoice(kind="onnxruntime"), bundle).precisions == ("fp32",)
    assert select_engine(EngineChoice(kind="onnxruntime", precision="int8"), bundle).precisions == ("int8",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"precision": "fp32"',
            '"precision": "fp16"',
            r"artifacts: .* a judge in fp32 beside fp16, int8",
        ),
        ('"score": 0.01', '"score": 0.3', r"tolerances\.int8\.score: expected at most 0\.25, .* found 0\.3"),
    ],
    ids=["no FP32 to fall back to", "a tolerance as wide as the threshold"],
)
def test_a_bundle_that_could_not_show_a_fault_is_refused(
    tiny_bundle: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    """A line has to fall back to something, and golden frames to tell engines apart; the error says how."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "small"))
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace(old, new))
    with pytest.raises(BundleError, match=said):
        read_bundle(folder)


def test_a_processor_without_avx2_is_named(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has tried the engines there; the line says so and tries."""
    (tmp_path / "cpuinfo").write_text("model name\t: Old Thing\nflags\t\t: fpu sse2\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    processor.name.cache_clear()
    processor.instructions.cache_clear()
    try:
        with caplog.at_level(logging.WARNING), armed_engine(EngineChoice(), read_bundle(tiny_bundle)):
            assert "the processor, Old Thing, has no AVX2" in caplog.text
    finally:
        processor.name.cache_clear()
        processor.instructions.cache_clear()


def test_a_line_judges_on_with_fp32_and_says_so(
    tiny_bundle: Path, tmp_path: Path, textured: np.ndarray
) -> None:
    """Verdicts are right, and the metrics name precision and reason, where INT8 is ruined on this machine."""
    bundle = with_step(Path(shutil.copytree(tiny_bundle, tmp_path / "ruined")), 0.4)
    boards = {"0": True, "1": False, "2": True}
    source = write_boards(tmp_path, boards, textured) + "\nfps = 20"
    recipe, digest, judges = read_line(write_recipe(tmp_path, bundle, source, UNHURRIED))
    told, heard = Told(), list[object]()
    line = RealLine(recipe, digest, judges, state=tmp_path, metrics=told.metrics, hear=heard.append)
    with line as running:
        while not running.ended:
            running.tick()
        shown = {sample.name: sample.labels for sample in told.samples()}
    assert shown["linejudge_engine_info"]["precision"] == "fp32"
    assert [v.verdict for v in heard if isinstance(v, Verdict)] == ["pass", "reject", "pass"]
    reasons = {
        sample.labels["engine"]: sample.labels["reason"]
        for sample in told.samples()
        if sample.name == "linejudge_engine_left_out"
    }
    assert "golden/spotted.png on openvino int8: map differs by" in reasons["openvino int8"]
    runs, fallback = [sample for sample in told.samples() if sample.name == "linejudge_engine_fallback"]
    assert (runs.value, runs.labels["engine"], runs.labels["reason"]) == (0, "openvino", "")
    assert (fallback.value, fallback.labels["engine"]) == (1, "openvino int8")
    shortened = fallback.labels["reason"]
    assert len(shortened.encode()) <= 120
    assert reasons["openvino int8"].startswith(shortened.rstrip("…"))


def test_check_names_the_engine_that_was_left_out_and_what_the_machine_holds(
    tiny_bundle: Path, tmp_path: Path, textured: np.ndarray
) -> None:
    """Before the line runs: which precision judges, why not the other, and which rate and deadline it holds."""
    bundle = with_step(Path(shutil.copytree(tiny_bundle, tmp_path / "ruined")), 0.4)
    source = write_boards(tmp_path, {"0": True}, textured)
    recipe = write_recipe(tmp_path, bundle, source, "[timing]\ndeadline_ms = 6\nguard_ms = 1")
    done = subprocess.run([sys.executable, "-m", "edge", "check", recipe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "!!  engine    openvino int8 left out: golden frame" in done.stdout
    assert "ok  engine    openvino fp32 reproduces 2 golden frames" in done.stdout
    assert f"{processor.name()}, {processor.usable_cores()} cores: it holds about" in done.stdout
    assert "!!  speed     timing.deadline_ms: 6 ms are shorter" in done.stdout
