"""TensorRT-RTX on the fake GPU: results do not change while a line runs, and kernels are compiled once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from bundles import KINDS, write_anomaly, write_comparator
from fake_gpu.machine import Machine
from fake_gpu.plans import write_engines

import edge
from edge.engines.compiled import ENGINES

RUNS = Path(__file__).with_name("rtx_runs.py")


def bundle_of(folder: Path, kind: str = "anomaly", **plan: Any) -> Path:
    """A bundle with RTX engines for batches of up to 3 parts."""
    bundle = write_anomaly(folder / kind) if kind == "anomaly" else write_comparator(folder / kind, KINDS)
    return write_engines(bundle, batch=3, runtime="tensorrt_rtx", **plan)


def kernels_of(bundle: Path) -> Path:
    (found,) = (bundle / ENGINES).glob("judge.*.kernels")
    return found


@pytest.mark.parametrize("kind", ["anomaly", "comparator"])
def test_a_shape_gives_the_same_results_from_its_first_run_on(
    bench: Machine, tmp_path: Path, kind: str
) -> None:
    """Its kernels are compiled before they are needed, not in the background while others compute."""
    told = bench.ask(RUNS, str(bundle_of(tmp_path, kind)))
    assert (told["error"], told["wrong"]) == ("", [])
    assert told["compiled"] == 3 + (kind == "comparator")


def test_kernels_are_compiled_once(bench: Machine, tmp_path: Path) -> None:
    """The next start finds them beside the engine, and gives the same results."""
    bundle = bundle_of(tmp_path)
    assert bench.ask(RUNS, str(bundle))["compiled"] == 3
    before = kernels_of(bundle).stat().st_mtime_ns
    assert bench.ask(RUNS, str(bundle)) == {"wrong": [], "compiled": 0, "error": ""}
    assert kernels_of(bundle).stat().st_mtime_ns == before
    assert not list((bundle / ENGINES).glob("*.part"))


KILLED = """
import os, sys
from pathlib import Path
from edge.bundle import read_bundle
from edge.engines.trt import TensorRTRTX

TensorRTRTX(read_bundle(Path(sys.argv[1])), "fp32", 2, 0).__enter__()
os._exit(0)
"""


def test_kernels_are_kept_before_the_first_part(bench: Machine, tmp_path: Path) -> None:
    """A process that is killed later has not compiled them for itself alone."""
    bundle = bundle_of(tmp_path)
    assert bench.run(KILLED, str(bundle)).returncode == 0
    assert bench.ask(RUNS, str(bundle)) == {"wrong": [], "compiled": 0, "error": ""}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-1], "was cut short or altered: compiling the kernels anew"),
        (lambda data: data.replace(b"batch", b"botch") + b" ", "was cut short or altered"),
        (None, "is of another GPU, driver or version: compiling the kernels anew"),
    ],
    ids=["cut short", "altered", "of another GPU"],
)
def test_kernels_that_cannot_be_used_are_compiled_anew(
    bench: Machine, tmp_path: Path, damage: Any, said: str
) -> None:
    """A warning says why, and the file is mended."""
    bundle = bundle_of(tmp_path)
    bench.ask(RUNS, str(bundle))
    path = kernels_of(bundle)
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        seal = (
            "import sys; from pathlib import Path; from edge.engines.sealed import *; path = Path(sys.argv[1]);"
        )
        seal += 'write_sealed(path, read_sealed(path, "").replace(b"[8, 7]", b"[8, 9]"), "")'
        assert bench.run(seal, str(path)).returncode == 0
    done = bench.run(RUNS, str(bundle))
    assert said in done.stderr
    assert json.loads(done.stdout) == {"wrong": [], "compiled": 3, "error": ""}
    assert bench.ask(RUNS, str(bundle))["compiled"] == 0


def test_a_bundle_that_cannot_be_written_to_is_judged_with(bench: Machine, tmp_path: Path) -> None:
    """Then the kernels are compiled at each start, and a warning says so."""
    bundle = bundle_of(tmp_path)
    (bundle / ENGINES / "judge.fp32.fake.kernels").mkdir()
    done = bench.run(RUNS, str(bundle))
    assert "the next start compiles the kernels again" in done.stderr
    assert json.loads(done.stdout) == {"wrong": [], "compiled": 3, "error": ""}


def test_a_plan_for_other_gpus_is_not_loaded(bench: Machine, tmp_path: Path) -> None:
    """Whatever its description says, TensorRT-RTX is asked, and its reasons are told."""
    told = bench.ask(RUNS, str(bundle_of(tmp_path, capabilities=[[8, 6]], version="1.6")))
    assert told["error"] == (
        "judge.fp32.fake.engine cannot run on this machine (version mismatch, unsupported cc): "
        "run `trt-build build` here"
    )


EAGER = "rtx.DynamicShapesKernelSpecializationStrategy.EAGER"
FAULTS = {  # what edge/engines/rtx.py says, and what it is made to say
    "kernels compiled in the background": (EAGER, EAGER.replace("EAGER", "LAZY")),
    "kernels never compiled": (EAGER, EAGER.replace("EAGER", "NONE")),
    "a context without the configuration": ("runtime_config=self._config", ""),
    "kernels that are not kept": (
        "        memory = self._cache",
        "        return\n        memory = self._cache",
    ),
    "kernels that are not used": ("config.set_runtime_cache(cache)", "True"),
    "a plan that is not checked": ("validity == rtx.EngineValidity.INVALID", "False"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_shows(bench: Machine, tmp_path: Path, fault: str) -> None:
    """This proves the fake: a copy of `edge` with any of these faults fails one of the tests above."""
    right, wrong = FAULTS[fault]
    copy = tmp_path / "edge"
    shutil.copytree(Path(edge.__file__).parent, copy, ignore=shutil.ignore_patterns("demo", "__pycache__"))
    source = (copy / "engines/rtx.py").read_text()
    assert source.count(right) == 1
    (copy / "engines/rtx.py").write_text(source.replace(right, wrong))
    faulty = bench.taking(tmp_path)
    bundle = bundle_of(tmp_path / "sound")
    first, second = (faulty.ask(RUNS, str(bundle)) for _ in range(2))
    elsewhere = faulty.ask(RUNS, str(bundle_of(tmp_path / "other", capabilities=[[8, 6]])))
    same = {"wrong": [], "error": ""}
    assert (first, second) != (same | {"compiled": 3}, same | {"compiled": 0}) or (
        "unsupported cc" not in elsewhere["error"]
    )
