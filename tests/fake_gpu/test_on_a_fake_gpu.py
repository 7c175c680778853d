"""What is run where there is a GPU runs on the fake one too, as far as it needs no TensorRT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundles import write_anomaly
from fake_gpu.machine import Machine
from fake_gpu.plans import promise_answers, write_engines

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
    assert "16 passed" in done.stdout


def test_the_benchmark_for_a_gpu_runs(bench: Machine, tmp_path: Path) -> None:
    """It measures each engine that there is at each batch size, and says of each other why it could not."""
    bundle = write_anomaly(tmp_path / "bundle")
    promise_answers(bundle, 0.145)
    write_engines(bundle, batch=16, poison=-1)
    out = tmp_path / "so far.json"
    words = ("--rounds", "100", "--every-ms", "2", "--batch", "1", "--batch", "16", "--batch", "17")
    done = bench.run(ROOT / "benchmarks/gpu.py", str(bundle), *words, "--out", str(out))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == json.loads(out.read_text())
    assert told["machine"]["gpu"] == "Fake GPU"
    assert [(row["precision"], row["batch"]) for row in told["engines"]] == [("fp32", 1), ("fp32", 16)]
    assert len(told["not_run"]) == 2, told["not_run"]
    for row in told["engines"]:
        assert 0 < row["device"]["p50_ms"] <= row["device"]["p99_ms"]
        assert row["host_to_host"]["p50_ms"] > row["device"]["p50_ms"]
        assert 0 < row["queueing"]["p50_ms"] < row["host_to_host"]["p50_ms"]
        assert (row["requests"], row["paced"]["requests"]) == (100, 200)
        assert row["copy_floor_ms"] > 0
    assert ["by_the_kernels_for_batches" in row for row in told["engines"]] == [True, False]
    (start,), (flips,) = told["starts"], told["flips"]
    assert 0 < min(start["all_s"]) <= start["armed_s"]
    # All but one: the fake network's scores are far above the threshold, where the graph's are below.
    assert (flips["decided_otherwise"], flips["pictures"]) == (13, 14)
    too_large = "engines: bundle tensorrt fp32, batch 17"
    assert told["not_run"].pop(too_large) == "its profile ends at a batch of 16"
    assert list(told["not_run"]) == ["bundle tensorrt_rtx"]
    shown = [line for line in done.stderr.splitlines() if " bundle tensorrt fp32" in line]
    assert [line.split(":")[0] for line in shown] == ["engines", "starts", "flips", "engines", "engines"]
