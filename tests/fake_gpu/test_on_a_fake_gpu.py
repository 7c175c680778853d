"""What is run where there is a GPU runs on the fake one too, as far as it needs no TensorRT."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundles import KINDS, write_comparator
from fake_gpu.machine import Machine
from fake_gpu.plans import write_engines

from edge.errors import EngineError
from trt_build.engines.kernels import nvcc

ROOT = Path(__file__).parents[2]


def test_the_tests_for_a_gpu_pass(bench: Machine) -> None:
    """Kernels, lanes and a lost device, by the very tests that a GPU is held to."""
    try:
        nvcc()
    except EngineError as missing:
        pytest.skip(str(missing))
    script = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    options = ("-q", "-m", "gpu", "-k", "not built_engine", "-p", "no:cacheprovider", str(ROOT / "tests/gpu"))
    done = bench.run(script, *options)
    assert done.returncode == 0, done.stdout
    assert "10 passed" in done.stdout


def test_the_benchmark_for_a_gpu_runs(bench: Machine, tmp_path: Path) -> None:
    """It measures each engine that there is at each batch size, and says of each other why it could not."""
    bundle = write_engines(write_comparator(tmp_path / "bundle", KINDS), batch=16)
    told = bench.ask(ROOT / "benchmarks/gpu.py", str(bundle), "--rounds", "100")
    assert told["machine"]["gpu"] == "Fake GPU"
    assert [(row["precision"], row["batch"]) for row in told["engines"]] == [("fp32", 1), ("fp32", 16)]
    for row in told["engines"]:
        assert 0 < row["device"]["p50_ms"] <= row["device"]["p99_ms"]
        assert row["host_to_host"]["p50_ms"] > row["device"]["p50_ms"]
        assert row["copy_floor_ms"] > 0
    assert set(told["not_run"]) == {
        "bundle tensorrt int8",
        "bundle tensorrt_rtx fp32",
        "bundle tensorrt_rtx int8",
    }
