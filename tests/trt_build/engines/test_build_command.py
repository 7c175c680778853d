"""`trt-build build`: engines are checked before they are kept, and what could not be done is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engines import KERNELS, Run, build, changed, engines, files, freed, needs_no_gpu, needs_rtx, with_kernels

from edge.bundle import Bundle, read_model
from edge.engines import open_engine
from edge.engines.compiled import ENGINES, Target, fitting, kept
from edge.errors import EngineError
from edge.image.kernel import fatbin_name
from edge.judges.golden import check_golden
from edge.recipe import EngineChoice
from trt_build.engines.build import chosen_precisions, copy_engines
from trt_build.engines.tensorrt_builder import files_of

pytestmark = pytest.mark.usefixtures("cache")


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
            raise EngineError("golden frame golden/clean: map differs by 0.5 from the expected")

    first, second = build(tiny, anywhere, ["fp32", "int8"], check=check)
    assert first.refused == "golden frame golden/clean: map differs by 0.5 from the expected"
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
    assert (tmp_path / "packed" / ENGINES / fatbin_name()).read_bytes() == KERNELS
    for found in copied:
        assert (tmp_path / "packed" / ENGINES / found.file.path).stat().st_size == found.file.bytes


@pytest.mark.parametrize(
    ("known", "asked", "capability", "chosen"),
    [
        (["fp32"], [], (8, 7), ["fp32"]),
        (["fp32", "int8", "fp16"], [], (8, 7), ["int8", "fp16"]),
        (["fp32", "int8", "fp16"], ["fp32", "fp16", "fp32"], (8, 7), ["fp32", "fp16"]),
        (["fp32", "fp16", "int8", "int8_fp16"], [], (8, 7), ["fp16", "int8_fp16"]),
        (["fp32", "int8", "int8_fp16"], ["int8"], (8, 7), ["int8"]),
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
    bundle = read_model(score_bundle)
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
    assert "RTX GPUs" in said
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
    draft = with_kernels(read_model(copy(anomaly_draft)))
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


@needs_rtx
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
    assert "not compiled, so the CPU" in compiling(f"{known} echo out of disk >&2; exit 1")
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
