"""Engines are built whole by a real TensorRT-RTX, and found by the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import onnx
import pytest
from engines import build, changed, engines, files, freed, needs_no_gpu, needs_rtx
from onnx import TensorProto, helper

import trt_build.engines.build
import trt_build.engines.tensorrt_builder
from edge.bundle import Bundle, read_model, write_manifest
from edge.engines.compiled import ENGINES, Target, fitting, read_plan
from edge.engines.trt_library import load_runtime
from edge.errors import EngineError
from trt_build.engines.build import PART
from trt_build.engines.builder_config import profile_for
from trt_build.engines.tensorrt_builder import files_of

pytestmark = pytest.mark.usefixtures("cache")


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
    of_the_gpu = ("layers.json", "kernels")
    named = {name for found in engines(tiny) for name in files_of(found)}
    assert files(tiny) == {name for name in named if not name.endswith(of_the_gpu)}
    assert not (tiny.folder / PART).exists()
    assert read_model(tiny.folder).digest == tiny.digest


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
def test_a_batch_holds_all_tiles_of_a_part(free: Bundle, anywhere: Target) -> None:
    """Unless another number is asked for."""
    write_manifest(free.folder, msgspec.structs.replace(free.manifest, tiles=(5, 2)))
    tiled = read_model(free.folder)
    build(tiled, anywhere)
    build(tiled, anywhere, batch=4)
    assert sorted(engine.batch for engine in engines(tiled)) == [4, 10]


@needs_rtx
def test_an_engine_takes_one_part_to_a_whole_batch(free: Bundle, anywhere: Target) -> None:
    """It is tuned for a full one: that is when a deadline is at risk."""
    trt = load_runtime("tensorrt_rtx")
    log = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    assert parser.parse(free.artifact("judge", "fp32").read_bytes())
    profile = profile_for(builder, network, 5)
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

    monkeypatch.setattr(trt_build.engines.tensorrt_builder, "_run", starved)
    with pytest.raises(
        EngineError,
        match=r"implementation for node conv1: the device's memory is too small .* a smaller --batch",
    ):
        build(free, anywhere)
