"""Engines are built whole by a real TensorRT-RTX, found by the line, and kept only once they were checked."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper
from rich.progress import Progress

import trt_build.build_engine
import trt_build.building
from edge.bundle import Bundle, describe, read_bundle, write_manifest
from edge.engines import open_engine
from edge.engines.compiled import ENGINES, Compiled, Target, fitting, kept, read_plan
from edge.engines.cuda import open_device
from edge.engines.trt import load_runtime
from edge.errors import EngineError
from edge.golden import check_golden
from edge.kernels import fatbin_name
from edge.manifest import Artifact
from edge.recipe import EngineChoice
from trt_build.build_engine import Asked, files_of
from trt_build.build_progress import monitor_of
from trt_build.building import PART, Result, build_engines, chosen_precisions, copy_engines
from trt_build.timing_cache import keep_timings, timing_file, use_timings
from trt_build.verify import Comparison

Run = Callable[..., tuple[int, str, str]]
needs_rtx = pytest.mark.skipif(
    not find_spec("tensorrt_rtx"), reason="needs tensorrt_rtx, which builds engines without a GPU"
)


def has_gpu() -> bool:
    try:
        with open_device():
            return True
    except EngineError:
        return False


needs_no_gpu = pytest.mark.skipif(has_gpu(), reason="is about machines without a GPU")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def anywhere() -> Target:
    """What TensorRT-RTX builds for where there is no GPU."""
    version = load_runtime("tensorrt_rtx").__version__
    return Target(runtime="tensorrt_rtx", version=version, compute_capability=None, driver=None)


@pytest.fixture
def tiny(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """A comparator of one part at a time; its kernels count as compiled."""
    return with_kernels(read_bundle(Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))))


@pytest.fixture
def free(score_bundle: Path, tmp_path: Path) -> Bundle:
    """An anomaly model that leaves free how many parts it takes at once."""
    return changed(with_kernels(read_bundle(Path(shutil.copytree(score_bundle, tmp_path / "free")))), freed)


def with_kernels(bundle: Bundle) -> Bundle:
    (bundle.folder / ENGINES).mkdir()
    (bundle.folder / ENGINES / fatbin_name()).write_bytes(b"compiled before")
    return bundle


def changed(bundle: Bundle, change: Callable[[onnx.ModelProto], None]) -> Bundle:
    """The bundle in its folder, with other graphs."""
    artifacts: list[Artifact] = []
    for artifact in bundle.manifest.artifacts:
        model = onnx.load(bundle.folder / artifact.path)
        change(model)
        onnx.save(model, bundle.folder / artifact.path)
        artifacts.append(msgspec.structs.replace(artifact, **describe(bundle.folder, artifact.path)))
    write_manifest(bundle.folder, msgspec.structs.replace(bundle.manifest, artifacts=tuple(artifacts)))
    return read_bundle(bundle.folder)


def freed(model: onnx.ModelProto, *, axis: int = 0) -> None:
    """Leave a side of every input and output free."""
    for put in (*model.graph.input, *model.graph.output):
        sides = put.type.tensor_type.shape.dim
        if axis < len(sides):
            sides[axis].dim_param = "batch" if axis == 0 else "height"


def build(
    bundle: Bundle,
    here: Target,
    precisions: Sequence[Any] = ("fp32",),
    check: Callable[[Bundle, EngineChoice], Comparison | None] | None = None,
    **asked: Any,
) -> list[Result]:
    return list(build_engines(bundle, precisions, here, Asked(**asked), check))


def files(bundle: Bundle) -> set[str]:
    """What lies in the folder of engines, but for the kernels."""
    return {path.name for path in (bundle.folder / ENGINES).iterdir()} - {fatbin_name()}


def engines(bundle: Bundle) -> list[Compiled]:
    return [found for _, found in kept(bundle.folder) if isinstance(found, Compiled)]


@needs_rtx
def test_what_is_built_is_what_a_line_finds(tiny: Bundle, anywhere: Target) -> None:
    """For each graph a plan and what is known of it; nothing else is left in the bundle, which is the same."""
    build(tiny, anywhere, ["fp32", "int8"])
    assert len(engines(tiny)) == 4
    for role in ("judge", "reference"):
        for precision in ("fp32", "int8"):
            found = fitting(tiny, role, precision, anywhere)  # type: ignore[arg-type]
            assert found.file.path == f"{role}.{precision}.{found.key}.engine"
            assert found.graph == tiny.digest_of_graph(role, precision)  # type: ignore[arg-type]
            assert len(read_plan(tiny, found)) > 1000
    assert files(tiny) == {name for found in engines(tiny) for name in files_of(found) if "layers" not in name}
    assert not (tiny.folder / PART).exists()
    assert read_bundle(tiny.folder).digest == tiny.digest


@needs_rtx
def test_nothing_is_built_twice(tiny: Bundle, anywhere: Target) -> None:
    """The second time the files are the very same, and it is said."""
    build(tiny, anywhere)
    before = {path.name: path.stat().st_mtime_ns for path in (tiny.folder / ENGINES).iterdir()}
    (result,) = build(tiny, anywhere)
    assert [one.up_to_date for one in result.built] == [True, True]
    assert {path.name: path.stat().st_mtime_ns for path in (tiny.folder / ENGINES).iterdir()} == before


@needs_rtx
@pytest.mark.parametrize("plan", [b"", b"another's"], ids=["cut short", "altered"])
def test_a_damaged_engine_is_built_anew(free: Bundle, anywhere: Target, plan: bytes) -> None:
    """A copy that went wrong is mended by the same command."""
    build(free, anywhere)
    (engine,) = engines(free)
    (free.folder / ENGINES / engine.file.path).write_bytes(plan)
    (result,) = build(free, anywhere)
    assert [one.up_to_date for one in result.built] == [False]
    assert read_plan(free, fitting(free, "judge", "fp32", anywhere))


@needs_rtx
def test_another_batch_is_another_engine(free: Bundle, anywhere: Target) -> None:
    """Both are kept, and a line takes the larger; without a wish it is the usual one."""
    for batch in (4, None, 1):
        build(free, anywhere, batch=batch)
    assert sorted(engine.batch for engine in engines(free)) == [1, 4, 8]
    assert fitting(free, "judge", "fp32", anywhere).batch == 8


@needs_rtx
def test_an_engine_takes_one_part_to_a_whole_batch(free: Bundle, anywhere: Target) -> None:
    """It is tuned for a full one: that is when a deadline is at risk."""
    trt = load_runtime("tensorrt_rtx")
    log = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    assert parser.parse(free.artifact("judge", "fp32").read_bytes())
    profile = trt_build.build_engine._profile(builder, network, 5)
    assert [shape[0] for shape in profile.get_shape("image")] == [1, 5, 5]


@needs_rtx
def test_masters_are_looked_at_one_at_a_time(tiny: Bundle, anywhere: Target) -> None:
    """A large batch costs no memory for the graph that sees a master now and then."""
    freed_bundle = changed(tiny, freed)
    build(freed_bundle, anywhere, batch=4)
    assert {engine.role: engine.batch for engine in engines(freed_bundle)} == {"reference": 1, "judge": 4}


@needs_rtx
def test_a_graph_of_one_part_takes_no_batch(tiny: Bundle, anywhere: Target) -> None:
    """What was exported before is built for one part at a time; who asks for more is told what to do."""
    build(tiny, anywhere)
    assert {engine.batch for engine in engines(tiny)} == {1}
    with pytest.raises(
        EngineError,
        match=r"takes 1 at once, as its input 'image' says .* and 8 were asked for: export the model",
    ):
        build(tiny, anywhere, batch=8)


@needs_rtx
def test_only_the_batch_may_be_free(free: Bundle, anywhere: Target) -> None:
    """A picture whose height is free is of no model that is exported here."""
    tall = changed(free, lambda model: freed(model, axis=2))
    with pytest.raises(EngineError, match=r"input 'image' is \(-1, 1, -1, 64\): expected that only the first"):
        build(tall, anywhere)
    assert files(tall) == set()


@needs_rtx
def test_an_engine_of_a_graph_that_changed_is_left_alone(free: Bundle, anywhere: Target) -> None:
    """It fits no more, and the next build makes another beside it."""
    build(free, anywhere)

    def darker(model: onnx.ModelProto) -> None:
        model.doc_string = "exported anew"

    anew = changed(free, darker)
    with pytest.raises(EngineError, match="it was made of another graph: run `trt-build build"):
        fitting(anew, "judge", "fp32", anywhere)
    build(anew, anywhere)
    assert len(engines(anew)) == 2
    assert fitting(anew, "judge", "fp32", anywhere).graph == anew.digest_of_graph("judge", "fp32")


def halved(model: onnx.ModelProto) -> None:
    """Resize the map as no parser of TensorRT takes it."""
    (node,) = (node for node in model.graph.node if node.output[0] == "map")
    node.output[0] = "fine"
    sizes = helper.make_tensor("sizes", TensorProto.FLOAT, [4], [1, 1, 0.5, 0.5])
    model.graph.initializer.append(sizes)
    model.graph.node.append(
        helper.make_node("Resize", ["fine", "", "sizes"], ["map"], "halve", mode="linear", antialias=1)
    )


def invented(model: onnx.ModelProto) -> None:
    """An operator that only one program in the world knows."""
    (node,) = (node for node in model.graph.node if node.output[0] == "map")
    node.output[0] = "fine"
    model.opset_import.append(helper.make_opsetid("our.own", 1))
    model.graph.node.append(helper.make_node("Frobnicate", ["fine"], ["map"], "odd one", domain="our.own"))


@needs_rtx
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (halved, r"node 'halve' \(Resize\): .*Antialiasing is not supported"),
        (invented, r"node 'odd one' \(Frobnicate\): .*Plugin not found"),
    ],
    ids=["antialiased resize", "unknown operator"],
)
def test_an_operator_that_is_not_taken_is_named(
    free: Bundle, anywhere: Target, change: Callable[[onnx.ModelProto], None], said: str
) -> None:
    """The parser's own words, the node and what can be done; nothing is left of the attempt."""
    odd = changed(free, change)
    with pytest.raises(
        EngineError, match=rf"judge\.fp32\.onnx: tensorrt_rtx .* does not take this graph: {said}"
    ) as e:
        build(odd, anywhere)
    assert "export the model anew with operators that it takes, or run this precision on another engine" in str(
        e.value
    )
    assert files(odd) == set()
    assert not (odd.folder / PART).exists()


@needs_rtx
@needs_no_gpu
def test_a_builder_that_fails_is_quoted(tiny: Bundle, anywhere: Target) -> None:
    """Its calls return nothing, and its log says why: of stripped engines, that RTX needs the GPU."""
    with pytest.raises(
        EngineError, match=r"tensorrt_rtx .* cannot build it: .*Myelin.*: build without --stripped"
    ):
        build(tiny, anywhere, stripped=True)
    assert files(tiny) == set()


@needs_rtx
def test_an_engine_without_weights_is_known_as_such(free: Bundle, anywhere: Target) -> None:
    """It is another one than that with weights, and a line fills them in."""
    for stripped in (False, True):
        build(free, anywhere, stripped=stripped)
    assert sorted(engine.stripped for engine in engines(free)) == [False, True]


@needs_rtx
def test_portable_engines_are_tensorrts(free: Bundle, anywhere: Target) -> None:
    """RTX lacks what they need, and this is said before anything is built."""
    with pytest.raises(EngineError, match="build without --portable"):
        build(free, anywhere, portable=True)


@needs_rtx
def test_too_little_memory_is_told_in_words(
    free: Bundle, anywhere: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT reports it in a warning and then fails for want of an implementation."""
    trt = load_runtime("tensorrt_rtx")

    def starved(builder: Any, network: Any, config: Any) -> None:
        builder.logger.log(
            trt.ILogger.WARNING, "Skipping tactic 0 due to insufficient memory on requested size"
        )
        builder.logger.log(trt.ILogger.ERROR, "Error Code 10: Could not find any implementation for node conv1")

    monkeypatch.setattr(trt_build.build_engine, "_run", starved)
    with pytest.raises(
        EngineError,
        match=r"implementation for node conv1: the device's memory is too small .* a smaller --batch",
    ):
        build(free, anywhere)


def interrupting(monkeypatch: pytest.MonkeyPatch, step: int) -> list[bool]:
    """Have Ctrl-C pressed at one of the builder's steps; gives whether that step is told to stop."""
    steps, told = iter(range(step)), []

    def pressed(*given: Any) -> Any:
        monitor = monitor_of(*given)
        real = type(monitor).step_complete

        class Pressed(type(monitor)):  # type: ignore[misc]
            def step_complete(self, phase: str, number: int) -> bool:
                if next(steps, None) == step - 1:
                    os.kill(os.getpid(), signal.SIGINT)
                    # The thread that hears of it may take a moment.
                    told.append(any(not real(self, phase, number) or time.sleep(0.01) for _ in range(1000)))
                return bool(real(self, phase, number))

        return Pressed()

    monkeypatch.setattr(trt_build.build_engine, "monitor_of", pressed)
    return told


@needs_rtx
def test_an_interrupted_build_leaves_nothing(
    tiny: Bundle, anywhere: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the engine of the other role, which was ready: without this one it is of no use."""
    with monkeypatch.context() as patch:
        told = interrupting(patch, 100)  # the reference has fewer
        with pytest.raises(KeyboardInterrupt):
            build(tiny, anywhere)
    assert told == [True]
    assert files(tiny) == set()
    assert not (tiny.folder / PART).exists()
    build(tiny, anywhere)
    assert len(engines(tiny)) == 2


@needs_rtx
@needs_no_gpu
def test_ctrl_c_ends_the_command_with_one_line(
    trt_build: Run, tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the status that a shell knows."""
    interrupting(monkeypatch, 3)
    status, said, errors = trt_build("build", tiny.folder, "--runtime", "tensorrt_rtx")
    assert (status, said.splitlines()[-1]) == (130, "stopped; of what was not finished nothing is left")
    assert errors == ""
    assert files(tiny) == set()


GARBAGE = """
import gc, logging, sys
from pathlib import Path
import tensorrt_rtx as trt
from edge.bundle import read_bundle
from edge.engines.compiled import Target
from trt_build.build_engine import Asked
from trt_build.building import build_engines

def collect(record):
    if gc.isenabled():
        gc.collect()
    return False

gc.set_threshold(0)  # only when that is called
log = logging.getLogger("trt_build.build_engine")
log.setLevel(logging.DEBUG)
log.addFilter(collect)
before = [trt.Builder(trt.Logger(trt.Logger.ERROR))]
before.append(before)
del before
here = Target(runtime="tensorrt_rtx", version=trt.__version__, compute_capability=None, driver=None)
print(len(list(build_engines(read_bundle(Path(sys.argv[1])), ["fp32"], here, Asked(), None))))
"""


@needs_rtx
def test_what_an_earlier_build_left_in_memory_stops_no_other(free: Bundle) -> None:
    """TensorRT writes to its log with a lock held that freeing a builder takes; Python may free one then."""
    command = [sys.executable, "-W", "ignore", "-c", GARBAGE, str(free.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1"), done.stderr


@needs_rtx
def test_what_a_killed_build_left_is_cleared(free: Bundle, anywhere: Target) -> None:
    """It is not mistaken for an engine, neither before nor after the next build."""
    (free.folder / PART / ENGINES).mkdir(parents=True)
    (free.folder / PART / ENGINES / "judge.fp32.0000.engine").write_bytes(b"half")
    assert engines(free) == []
    build(free, anywhere)
    assert len(engines(free)) == 1
    assert not (free.folder / PART).exists()


@needs_rtx
def test_an_engine_is_checked_alone_before_it_is_kept(free: Bundle, anywhere: Target) -> None:
    """Beside the graphs and golden frames of its bundle, and not another one of a larger batch in its place."""
    build(free, anywhere, batch=8)
    seen: list[tuple[int, str]] = []

    def check(part: Bundle, choice: EngineChoice) -> None:
        seen.append((fitting(part, "judge", choice.precision, anywhere).batch, choice.kind))  # type: ignore[arg-type]
        with open_engine(EngineChoice(kind="onnxruntime", precision="fp32"), part) as engine:
            check_golden(engine, part)
        assert [engine.batch for engine in engines(free)] == [8]

    build(free, anywhere, check=check, batch=2)
    assert seen == [(2, "tensorrt_rtx")]
    assert sorted(engine.batch for engine in engines(free)) == [2, 8]


@needs_rtx
def test_an_engine_that_judges_otherwise_is_deleted(tiny: Bundle, anywhere: Target) -> None:
    """New ones and those that were there; the other precision and other devices' engines are left alone."""
    build(tiny, anywhere)
    elsewhere = msgspec.structs.replace(
        engines(tiny)[0], target=msgspec.structs.replace(anywhere, version="1.6")
    )
    other = tiny.folder / ENGINES / "judge.fp32.0000.engine.json"
    other.write_bytes(msgspec.json.encode(elsewhere))

    def check(part: Bundle, choice: EngineChoice) -> None:
        if choice.precision == "fp32":
            raise EngineError("golden frame golden/clean: map lies 0.5 from the expected")

    first, second = build(tiny, anywhere, ["fp32", "int8"], check=check)
    assert first.refused == "golden frame golden/clean: map lies 0.5 from the expected"
    assert not second.refused
    assert {(engine.precision, engine.target.version) for engine in engines(tiny)} == {
        ("int8", anywhere.version),
        ("fp32", "1.6"),
    }


@needs_rtx
def test_engines_of_the_graphs_that_are_packed_go_with_them(
    tiny: Bundle, anywhere: Target, tmp_path: Path
) -> None:
    """And the kernels; not those of a graph that is left out, nor those of a graph of before."""
    build(tiny, anywhere, ["fp32", "int8"])
    int8 = tuple(artifact for artifact in tiny.manifest.artifacts if artifact.precision == "int8")
    copy_engines(tiny.folder, tmp_path / "packed", msgspec.structs.replace(tiny.manifest, artifacts=int8))
    copied = [found for _, found in kept(tmp_path / "packed")]
    assert sorted((found.role, found.precision) for found in copied) == [
        ("judge", "int8"),
        ("reference", "int8"),
    ]
    assert (tmp_path / "packed" / ENGINES / fatbin_name()).read_bytes() == b"compiled before"
    for found in copied:
        assert (tmp_path / "packed" / ENGINES / found.file.path).stat().st_size == found.file.bytes


@needs_rtx
def test_bars_follow_the_builders_phases() -> None:
    """Each lies within its parent, goes when it is over and says how far it is; Ctrl-C ends the build."""
    asked = iter([False, True])

    def stop_if_asked() -> None:
        if next(asked):
            raise KeyboardInterrupt

    with Progress(disable=True) as bars:
        monitor = monitor_of(load_runtime("tensorrt_rtx"), bars, stop_if_asked)
        monitor.phase_start("Building", None, 6)
        monitor.phase_start("Timing", "Building", 3)
        assert monitor.step_complete("Timing", 1)
        assert [(bar.description, bar.completed, bar.total) for bar in bars.tasks] == [
            ("Building", 0, 6),
            ("  Timing", 2, 3),
        ]
        monitor.phase_finish("Timing")
        assert [bar.description for bar in bars.tasks] == ["Building"]
        assert not monitor.step_complete("Building", 1)


@needs_rtx
@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data, ""),
        (lambda data: data[:-1], "was cut short or altered: measuring anew"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "was cut short or altered: measuring anew"),
        (lambda data: data[:7], "was cut short or altered: measuring anew"),
        (lambda data: b"", ""),
    ],
    ids=["sound", "cut short", "altered", "a few bytes", "empty"],
)
def test_measurements_are_kept_for_the_next_build(
    anywhere: Target, caplog: pytest.LogCaptureFixture, cache: Path, damage: Callable[[bytes], bytes], said: str
) -> None:
    """A file that is not sound is passed over with a line in the log, and replaced by the next."""
    trt = load_runtime("tensorrt_rtx")
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    first, second, third = (builder.create_builder_config() for _ in range(3))
    path = timing_file(anywhere)
    use_timings(first, path)
    keep_timings(first, path)
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    with caplog.at_level(logging.WARNING):
        use_timings(second, path)
    assert said in caplog.text
    assert bool(said) == bool(caplog.records)
    keep_timings(second, path)
    assert path.read_bytes() == sound
    assert list(path.parent.iterdir()) == [path]
    use_timings(third, path)
    assert bytes(third.get_timing_cache().serialize()) == sound[32:]


def test_measurements_of_one_gpu_and_version_are_not_anothers(cache: Path) -> None:
    """Nor of another runtime."""
    here = Target(runtime="tensorrt", version="10.7.0", compute_capability=(8, 7), driver=12060)
    assert timing_file(here) == cache / "linejudge" / "timing" / "tensorrt-10.7.0-sm87.cache"
    others = [{"version": "10.8.0"}, {"compute_capability": (8, 9)}, {"runtime": "tensorrt_rtx"}]
    paths = {timing_file(msgspec.structs.replace(here, **other)) for other in (*others, {})}
    assert len(paths) == 4


@pytest.mark.parametrize(
    ("known", "asked", "capability", "chosen"),
    [
        (["fp32"], [], (8, 7), ["fp32"]),
        (["fp32", "int8", "fp16"], [], (8, 7), ["int8", "fp16"]),
        (["fp32", "int8", "fp16"], ["fp32", "fp16", "fp32"], (8, 7), ["fp32", "fp16"]),
        (["fp32", "fp8"], [], (8, 9), ["fp8"]),
        (["fp32", "fp8"], [], None, ["fp8"]),
        (["fp32", "fp8", "fp16"], [], (8, 7), ["fp16"]),
        (["fp32", "fp8"], [], (8, 7), ["fp32"]),
        (["fp32", "fp8"], ["fp8"], (8, 7), ["fp8"]),
    ],
)
def test_all_that_a_line_would_take_is_built(
    score_bundle: Path, known: list[Any], asked: list[str], capability: Any, chosen: list[str]
) -> None:
    """FP32 only where there is nothing else or it is asked for, FP8 only where the GPU has it."""
    bundle = read_bundle(score_bundle)
    artifact = bundle.manifest.artifacts[0]
    artifacts = tuple(msgspec.structs.replace(artifact, precision=precision) for precision in known)
    several = Bundle(
        folder=bundle.folder, manifest=msgspec.structs.replace(bundle.manifest, artifacts=artifacts), digest=""
    )
    here = Target(runtime="tensorrt", version="10.7.0", compute_capability=capability, driver=12060)
    assert chosen_precisions(several, asked, here) == chosen
    with pytest.raises(
        EngineError, match=rf"holds no fp4 graph: it comes in {', '.join(known)}: export it anew"
    ):
        chosen_precisions(several, ["fp4"], here)


@needs_rtx
@needs_no_gpu
def test_the_command_builds_and_says_what_it_could_not_do(trt_build: Run, tiny: Bundle) -> None:
    """Without a GPU the engine is there and was not verified; nobody can overlook it."""
    words = ("build", tiny.folder, "--runtime", "tensorrt_rtx", "--precision", "fp32", "--precision", "int8")
    status, said, errors = trt_build(*words)
    assert (status, errors) == (0, "")
    assert "for tensorrt_rtx " in said
    assert "any GPU" in said
    assert "kernels: up to date" in said
    for precision in ("fp32", "int8"):
        assert f"{precision}: built, not verified: no GPU here" in said
    assert said.count(".engine: built") == 4
    assert said.endswith("next: edge run\n")
    status, said, _ = trt_build(*words)
    assert (status, said.count(".engine: up to date")) == (0, 4)


@needs_rtx
@needs_no_gpu
def test_a_draft_is_calibrated_next(trt_build: Run, anomaly_draft: Path, copy: Callable[[Path], Path]) -> None:
    """Of a draft INT8 is built, and what comes after is said; the CPU's engine goes on judging it here."""
    draft = with_kernels(read_bundle(copy(anomaly_draft)))
    status, said, _ = trt_build("build", draft.folder, "--runtime", "tensorrt_rtx")
    assert (status, said.splitlines()[-1]) == (0, "next: trt-build calibrate")
    assert [engine.precision for engine in engines(draft)] == ["int8"]
    with open_engine(EngineChoice(), draft) as engine:
        assert engine.name == "openvino"


@needs_no_gpu
def test_tensorrt_is_built_on_the_device_itself(trt_build: Run, tiny: Bundle) -> None:
    """Elsewhere the error says so, and nothing is written."""
    status, said, errors = trt_build("build", tiny.folder, "--runtime", "tensorrt")
    assert (status, said) == (1, "")
    assert "an engine of tensorrt is built on the device that it is to run on" in errors
    assert files(tiny) == set()


def test_a_constant_has_nothing_to_build(trt_build: Run, constant_bundle: Callable[..., Path]) -> None:
    """It runs without any graph."""
    status, _, errors = trt_build("build", constant_bundle())
    assert status == 1
    assert "holds no graph, so there is nothing to build" in errors


@needs_rtx
@needs_no_gpu
def test_kernels_are_compiled_beside_the_engines(
    trt_build: Run, tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the compiler that CUDA_HOME names, and only once; where it fails, engines are built all the same."""
    (tiny.folder / ENGINES / fatbin_name()).unlink()
    compiler = tmp_path / "cuda" / "bin" / "nvcc"
    compiler.parent.mkdir(parents=True)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))

    def compiling(script: str) -> str:
        compiler.write_text(f"#!/bin/sh\n{script}\n")
        compiler.chmod(0o755)
        status, said, _ = trt_build("build", tiny.folder, "--runtime", "tensorrt_rtx")
        assert status == 0
        return next(line for line in said.splitlines() if line.startswith("kernels: "))

    known = '[ "$1" = --list-gpu-arch ] && echo compute_87 && exit\n'
    assert "not compiled, so that" in compiling(f"{known} echo out of disk >&2; exit 1")
    written = 'while [ "$1" != -o ]; do shift; done; echo kernels > "$2"'
    assert compiling(known + written) == "kernels: compiled"
    assert (tiny.folder / ENGINES / fatbin_name()).read_text() == "kernels\n"
    assert compiling("exit 1") == "kernels: up to date"


@pytest.mark.gpu
@pytest.mark.parametrize("more", [(), ("--batch", "4"), ("--stripped",)], ids=" ".join)
def test_on_the_device_an_engine_is_verified(trt_build: Run, tiny: Bundle, more: tuple[Any, ...]) -> None:
    """It reproduces the golden frames, says what became of its layers, and judges what comes next."""
    bundle = changed(tiny, freed)
    status, said, errors = trt_build("build", bundle.folder, "--precision", "fp32", *more)
    assert (status, errors) == (0, "")
    assert "fp32: kept: all 2 golden frames are reproduced" in said
    for engine in engines(bundle):
        report = bundle.folder / ENGINES / files_of(engine)[1]
        assert json.loads(report.read_text())["Layers"]
    with open_engine(EngineChoice(precision="fp32"), bundle) as engine:
        assert engine.name.startswith("tensorrt")
