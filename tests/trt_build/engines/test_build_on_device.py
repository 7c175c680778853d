"""`trt-build build` with TensorRT on a device, from the graph to the engine that a line takes.

Real pycuda runs on the fake driver. The fake TensorRT's engines compute what `fake_gpu.plans` says, not what
the graph says. They reproduce the golden frames of a bundle that was made for them, and of no other bundle.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bundles import unpacked
from engines import engines
from fake_gpu.machine import Machine
from fake_gpu.plans import HERE, VERSION, promise_answers, write_engines

from edge.bundle import Bundle, read_model, write_manifest
from edge.engines.compiled import ENGINES, Compiled
from edge.engines.sealed import read_sealed
from edge.image.kernel import fatbin_name
from trt_build.engines.tensorrt_builder import files_of

#: What engines are built for on the fake GPU, whose memory is 8 GiB.
ITSELF = msgspec.structs.replace(HERE, memory_gib=8)
COMMAND = "import sys; from trt_build.__main__ import main; sys.argv[0] = 'trt-build'; main()"
TAKEN = """
import sys
from pathlib import Path
from edge.bundle import read_model
from edge.engines import open_engine
from edge.recipe import EngineChoice

with open_engine(EngineChoice(), read_model(Path(sys.argv[1]))) as engine:
    print(engine.name, engine.precision, engine.batch)
"""


@pytest.fixture
def device(bench: Machine, tmp_path: Path) -> Machine:
    """A machine with the fake GPU; its cache is empty."""
    return bench.having(XDG_CACHE_HOME=tmp_path / "cache")


@pytest.fixture
def made_for_it(free: Bundle) -> Bundle:
    """The anomaly model `free`, whose golden frames expect what the fake's engines answer."""
    promise_answers(free.folder, 0.145)
    return read_model(free.folder)


def build(device: Machine, bundle: Bundle, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command there."""
    return device.run(COMMAND, "build", str(bundle.folder), "--runtime", "tensorrt", *words)


def asked_of(bundle: Bundle, engine: Compiled) -> dict[str, Any]:
    """What the builder was asked for when it made this engine."""
    return dict(json.loads((bundle.folder / ENGINES / engine.file.path).read_bytes())["asked"])


def test_an_engine_is_verified_on_the_device_and_the_line_takes_it(
    device: Machine, made_for_it: Bundle
) -> None:
    """What it was built for is known, what became of its layers is told, and `auto` prefers it."""
    done = build(device, made_for_it)
    assert done.returncode == 0, done.stderr
    assert "the CPU warps the frames" not in done.stderr
    assert f"for {HERE}" in done.stdout
    assert "fp32: kept: all 2 golden frames are reproduced" in done.stdout
    assert done.stdout.endswith("next: edge run\n")
    (engine,) = engines(made_for_it)
    assert engine.measured is not None
    assert engine.measured.runs == 200
    assert f"median of 200 runs:\n  fp32      {engine.measured.ms:9.3f} ms, " in done.stdout
    assert engine.measured.for_batches_ms
    assert "a line with engine.precision 'auto' takes fp32\n" in done.stdout
    assert engine.target == ITSELF
    report = json.loads((made_for_it.folder / ENGINES / files_of(engine)[1]).read_text())
    assert report == {"Layers": ["score", "map"], "Bindings": ["image"]}
    assert device.run(TAKEN, str(made_for_it.folder)).stdout == "tensorrt fp32 8\n"
    done = device.run(COMMAND, "verify", str(made_for_it.folder), "--engine", "tensorrt")
    assert (done.returncode, done.stdout) == (0, "all 2 golden frames are reproduced\n")


def test_precision_is_in_the_graph_alone(device: Machine, made_for_it: Bundle) -> None:
    """The network is strongly typed, FP32 is no TF32; one part and a full batch each have a profile."""
    assert build(device, made_for_it, "--batch", "4").returncode == 0
    asked = asked_of(made_for_it, *engines(made_for_it))
    assert (asked["flags"], asked["network"], asked["verbosity"]) == ([], 1 << 1, "DETAILED")
    one, four = [1, 1, 64, 64], [4, 1, 64, 64]
    assert asked["profiles"] == [{"image": [one, one, one]}, {"image": [one, four, four]}]
    assert device.run(TAKEN, str(made_for_it.folder)).stdout == "tensorrt fp32 4\n"


@pytest.mark.parametrize("shared", [True, False])
def test_a_build_leaves_shared_memory_to_the_machine(
    device: Machine, made_for_it: Bundle, shared: bool
) -> None:
    """On a Jetson, whose GPU has the CPU's memory, a layer may use half of what is free; a card's all."""
    here = device.having(FAKE_CUDA_MEMORY_MB=512, **({"FAKE_CUDA_INTEGRATED": 1} if shared else {}))
    assert build(here, made_for_it).returncode == 0
    workspace = asked_of(made_for_it, *engines(made_for_it))["workspace"]
    assert (200 << 20 < workspace <= 256 << 20) if shared else workspace is None


def test_a_portable_engine_is_asked_for_and_known_as_such(device: Machine, made_for_it: Bundle) -> None:
    """So that a later version takes it."""
    assert build(device, made_for_it, "--portable").returncode == 0
    (engine,) = engines(made_for_it)
    assert (engine.portable, asked_of(made_for_it, engine)["flags"]) == (True, ["VERSION_COMPATIBLE"])
    later = device.having(FAKE_TENSORRT_VERSION="10.16.1")
    assert later.run(TAKEN, str(made_for_it.folder)).stdout == "tensorrt fp32 8\n"


def test_the_next_build_knows_what_the_first_has_measured(
    device: Machine, made_for_it: Bundle, tmp_path: Path
) -> None:
    """For each device in a file of its own; what is up to date is verified again and not built."""
    for batch in ("2", "4", "2"):
        assert build(device, made_for_it, "--batch", batch).returncode == 0
    by_batch = {engine.batch: asked_of(made_for_it, engine)["timings"] for engine in engines(made_for_it)}
    assert by_batch == {2: 0, 4: 1}
    (kept_timings,) = (tmp_path / "cache" / "linejudge" / "timing").iterdir()
    assert kept_timings.name == f"tensorrt-{VERSION}-sm87.cache"


def test_kernels_that_rtx_compiled_for_the_check_are_kept(device: Machine, made_for_it: Bundle) -> None:
    """So the line starts with the very kernels that reproduced the golden frames, and compiles none."""
    done = device.run(COMMAND, "build", str(made_for_it.folder), "--runtime", "tensorrt_rtx")
    assert done.returncode == 0, done.stderr
    (engine,) = engines(made_for_it)
    assert engine.capabilities == ()  # built on the GPU, for it alone
    asked = asked_of(made_for_it, engine)["flags"]
    assert asked == ["REQUIRE_USER_ALLOCATION"]
    shapes = json.loads(read_sealed(made_for_it.folder / ENGINES / engine.kernels, ""))["shapes"]
    assert shapes
    assert "rtx fp32 8\n" in device.run(TAKEN, str(made_for_it.folder)).stdout


@pytest.mark.parametrize("up_to_date", [False, True], ids=["just built", "built before"])
def test_an_engine_that_judges_otherwise_is_deleted(device: Machine, free: Bundle, up_to_date: bool) -> None:
    """With status 1, and words for what differs; no line can take it."""
    if up_to_date:
        write_engines(free.folder, batch=8)
        (written,) = engines(free)
        known = msgspec.structs.replace(written, target=ITSELF)
        path = free.folder / ENGINES / f"judge.fp32.{known.key}.engine"
        (free.folder / ENGINES / known.file.path).rename(path)
        (free.folder / ENGINES / f"{known.file.path}.json").unlink()
        file = msgspec.structs.replace(known.file, path=path.name)
        path.with_name(f"{path.name}.json").write_bytes(
            msgspec.json.encode(msgspec.structs.replace(known, file=file))
        )
    done = build(device, free)
    assert done.returncode == 1
    assert ("up to date" in done.stdout.replace("kernels: up to date", "")) is up_to_date
    assert "fp32: deleted: golden frame golden/usual.png on tensorrt fp32: " in done.stdout
    assert done.stderr.endswith("1 of 1 engines judge otherwise and were deleted; see above\n")
    assert {path.name for path in (free.folder / ENGINES).iterdir()} == {fatbin_name()}


def test_an_engine_of_a_draft_is_held_against_its_graph(device: Machine, free: Bundle) -> None:
    """Where there are no golden frames yet, ONNX Runtime tells what the graph computes."""
    write_manifest(free.folder, unpacked(free.manifest))
    done = build(device, free)
    assert done.returncode == 1
    assert "this engine does not compute the graph" in done.stdout
    assert engines(free) == []


def test_a_draft_is_calibrated_on_its_engine(
    device: Machine, anomaly_draft: Path, part_folder: Path, tmp_path: Path
) -> None:
    """The threshold is of the scores that the line will see, not of the CPU's."""
    draft = write_engines(Path(shutil.copytree(anomaly_draft, tmp_path / "draft")))
    done = device.run(COMMAND, "calibrate", str(draft), str(part_folder), "--rate", "0.2")
    assert done.returncode == 0, done.stderr
    known = read_model(draft).manifest.calibration
    assert known is not None
    assert known.engine == "tensorrt fp32"
    assert known.artifact == read_model(draft).digest_of_graph("judge", "fp32")
    assert max(known.scores) > 1, "the graph's own are all less"
