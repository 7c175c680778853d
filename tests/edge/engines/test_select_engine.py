"""Which engine a line takes where it may choose, and what it says of the others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bundles import KINDS, altered, calibration, write_anomaly, write_comparator
from fake_gpu import machine
from fake_gpu.machine import Machine
from fake_gpu.plans import write_engines

import edge.engines
from edge.bundle import Bundle, read_bundle
from edge.engines import select_engine
from edge.engines.compiled import Compiled, Measured, Target
from edge.errors import EngineError
from edge.manifest import File, Precision
from edge.recipe import EngineChoice

SELECT = """
import json, sys
from pathlib import Path
from edge.bundle import read_bundle
from edge.engines import select_engine
from edge.errors import EngineError
from edge.recipe import EngineChoice
try:
    chosen = select_engine(EngineChoice(kind=sys.argv[2]), read_bundle(Path(sys.argv[1])))
except EngineError as error:
    print(json.dumps({"error": str(error)}))
else:
    print(json.dumps({"kind": chosen.kind, "precision": chosen.precision, "left_out": chosen.left_out}))
"""


FOR_GPUS: list[Precision] = ["fp16", "int8_fp16", "fp8"]


def for_gpus(folder: Path, *precisions: Precision) -> Bundle:
    """The bundle, said to hold its FP32 graphs in these precisions too."""
    bundle = read_bundle(folder)
    exact = [artifact for artifact in bundle.manifest.artifacts if artifact.precision == "fp32"]
    more = [msgspec.structs.replace(one, precision=precision) for precision in precisions for one in exact]
    artifacts = (*more, *bundle.manifest.artifacts)
    return replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, artifacts=artifacts))


def test_a_cpu_is_not_given_what_is_for_gpus(tiny_bundle: Path, score_bundle: Path) -> None:
    """It would be no faster."""
    assert select_engine(EngineChoice(), for_gpus(tiny_bundle, *FOR_GPUS)).precision == "int8"
    assert select_engine(EngineChoice(), for_gpus(score_bundle, *FOR_GPUS)).precision == "fp32"


@pytest.mark.parametrize("precision", FOR_GPUS)
def test_a_cpu_refuses_what_is_for_gpus(tiny_bundle: Path, precision: Precision) -> None:
    """Asked for by name, with what there is, and what to do."""
    said = rf"engine\.precision '{precision}': of bundle tiny, openvino can run int8, fp32: set 'auto'"
    with pytest.raises(EngineError, match=said):
        select_engine(EngineChoice(kind="openvino", precision=precision), for_gpus(tiny_bundle, *FOR_GPUS))


def test_a_line_runs_the_precision_that_its_threshold_was_calibrated_on(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    """Though another one would be faster, since its scores are others; unless the recipe asks for it."""
    graph = read_bundle(tiny_bundle).digest_of_graph("judge", "fp32")
    on_fp32 = msgspec.structs.replace(calibration([0.1, 0.2]), artifact=graph)
    bundle = read_bundle(altered(tiny_bundle, tmp_path / "calibrated", calibration=on_fp32))
    assert select_engine(EngineChoice(), bundle).precision == "fp32"
    assert select_engine(EngineChoice(precision="int8"), bundle).precision == "int8"


GRAPHS = ("int8", "fp8", "int8_fp16", "fp16", "fp32")


def in_every_precision(folder: Path) -> Bundle:
    """The anomaly bundle, said to hold its graph in every precision, each with a digest of its own."""
    bundle = read_bundle(folder)
    (exact,) = bundle.manifest.artifacts
    graphs = [msgspec.structs.replace(exact, precision=name, sha256=name.ljust(64, "0")) for name in GRAPHS]
    return replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, artifacts=tuple(graphs)))


def engine_of(precision: Any, ms: float | None) -> Compiled:
    """An engine that was timed, or was not."""
    target = Target(runtime="tensorrt", version="10.7.0", compute_capability=(8, 7), driver=12060)
    timed = Measured(ms=ms, runs=200) if ms else None
    file = File(path="it.engine", sha256="0" * 64, bytes=1)
    told: dict[str, Any] = {"role": "judge", "graph": "", "batch": 1, "target": target, "file": file}
    return Compiled(precision=precision, measured=timed, **told)


@pytest.mark.parametrize(
    ("times_ms", "taken"),
    [
        ({"fp16": 2.0, "int8": 1.0, "fp32": 3.0}, "int8"),
        ({"fp16": 1.0, "int8": 2.0, "fp32": 3.0}, "fp16"),
        ({"fp16": 9.0, "int8": 9.5, "fp32": 3.0}, "fp32"),
        ({"fp16": None, "int8": None, "fp32": None}, "fp16"),
        ({"fp16": None, "int8": 1.0, "fp32": None}, "int8"),
        ({"int8": None, "int8_fp16": None, "fp8": None}, "int8_fp16"),
        ({"int8": None, "fp8": None}, "int8"),
    ],
)
def test_a_gpu_runs_the_precision_that_was_fastest_on_it(
    score_bundle: Path, monkeypatch: pytest.MonkeyPatch, times_ms: dict[str, float | None], taken: str
) -> None:
    """By the times that `trt-build build` measured. What was not timed comes last, in a fixed order."""
    built = {precision: engine_of(precision, ms) for precision, ms in times_ms.items()}
    monkeypatch.setattr(edge.engines, "built_engines", lambda runtime, bundle: built)
    bundle = in_every_precision(score_bundle)
    assert select_engine(EngineChoice(kind="tensorrt"), bundle).precision == taken
    asked: Any = next(iter(times_ms))
    assert select_engine(EngineChoice(kind="tensorrt", precision=asked), bundle).precision == asked
    graph = bundle.digest_of_graph("judge", asked)
    calibrated = msgspec.structs.replace(calibration([0.1, 0.2]), artifact=graph)
    manifest = msgspec.structs.replace(bundle.manifest, calibration=calibrated)
    assert select_engine(EngineChoice(kind="tensorrt"), replace(bundle, manifest=manifest)).precision == asked


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A bundle with an engine for the fake GPU."""
    return write_engines(write_comparator(tmp_path / "bundle", KINDS), batch=4)


def take(bench: Machine, bundle: Path, kind: str = "auto") -> dict[str, Any]:
    found: dict[str, Any] = bench.ask(SELECT, str(bundle), kind)
    return found


def test_a_gpu_with_an_engine_is_taken_first(bench: Machine, built: Path) -> None:
    """Nothing is left out then, and the precision is one that was built, though the bundle has INT8 too."""
    assert take(bench, built) == {"kind": "tensorrt", "precision": "fp32", "left_out": {}}


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"LD_LIBRARY_PATH": ""}, "there is no NVIDIA driver here (libcuda.so.1: "),
        (
            {"FAKE_TENSORRT_VERSION": "9.3.0"},
            "tensorrt: expected a version from 10.3 to before 12.0, found 9.3.0",
        ),
        ({"FAKE_TENSORRT_VERSION": "12.0.1"}, "found 12.0.1: install one of these versions"),
        ({"FAKE_TENSORRT_VERSION": "10.16.1"}, "it was built by tensorrt 10.13.3.9, and here is 10.16.1"),
        (
            {"FAKE_CUDA_MULTIPROCESSORS": "8", "FAKE_CUDA_INTEGRATED": "1"},
            "it is of another power mode: it is for Fake GPU with 16 multiprocessors, and here are 8",
        ),
        ({"FAKE_CUDA_TOTAL_GIB": "4"}, "it is for Fake GPU with 8 GiB of memory, and here are 4"),
    ],
    ids=["no driver", "older major", "later major", "another version", "power mode", "less memory"],
)
def test_a_gpu_that_cannot_be_used_is_left_out_and_named(
    bench: Machine, built: Path, variables: dict[str, str], why: str
) -> None:
    """`auto` takes the CPU and says why; who asked for TensorRT by name is told the same as an error."""
    here = bench.having(**variables)
    found = take(here, built)
    assert (found["kind"], found["precision"]) == ("openvino", "int8")
    assert why in found["left_out"]["tensorrt"]
    assert why in take(here, built, "tensorrt")["error"]


def test_a_gpu_outlives_an_update_of_its_driver(bench: Machine, built: Path) -> None:
    """TensorRT does not compare the driver, and the golden frames are checked at every start anyway."""
    assert take(bench.having(FAKE_CUDA_DRIVER=13020), built)["kind"] == "tensorrt"


def test_a_bundle_without_engines_is_left_to_the_cpu(bench: Machine, tmp_path: Path) -> None:
    """And the command that builds one is named."""
    bundle = write_anomaly(tmp_path / "bundle")
    command = f"trt-build build {bundle}"
    said = f"{bundle}: expected engines that tensorrt compiled, found none: run `{command}` on this machine"
    assert take(bench, bundle)["left_out"]["tensorrt"] == said
    assert take(bench, bundle, "tensorrt")["error"] == said


def test_a_comparator_needs_the_engines_of_both_its_graphs(bench: Machine, built: Path) -> None:
    """One that can look at parts but at no master is not chosen."""
    for path in (built / "engines").glob("reference.*"):
        path.unlink()
    assert "expected an engine of the reference in fp32" in take(bench, built)["left_out"]["tensorrt"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:-1] + b"?"], ids=["cut", "altered"]
)
def test_a_damaged_engine_stops_the_line_before_it_starts(bench: Machine, built: Path, damage: Any) -> None:
    """It is not replaced by a slower one without a word, and the error says what to do."""
    path = next((built / "engines").glob("judge.*.engine"))
    path.write_bytes(damage(path.read_bytes()))
    script = SELECT.replace(
        'print(json.dumps({"kind"',
        'chosen.open(EngineChoice(), read_bundle(Path(sys.argv[1]))).__enter__()\n    print(json.dumps({"kind"',
    )
    done = bench.run(script, str(built), "auto")
    assert done.returncode == 1
    assert f"delete it and run `trt-build build {built}` here" in done.stderr


def test_without_pycuda_that_is_said(bench: Machine, built: Path, tmp_path: Path) -> None:
    """TensorRT alone is not enough."""
    only = tmp_path / "site"
    shutil.copytree(machine.build.HERE / "tensorrt", only / "tensorrt")
    found = take(Machine(only, bench.libraries, {"PYTHONPATH": str(only)}), built)
    assert "pycuda is not installed: pip install 'linejudge[gpu]'" in found["left_out"]["tensorrt"]
