"""A line whose GPU fails at the start judges with the CPU and says so, unless its recipe demands the GPU."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu.machine import Machine
from fake_gpu.plans import write_engines
from lines import write_boards, write_recipe
from told import Line as Told

from edge.engines.trials import CRASHED, RETRY
from edge.errors import LineError
from edge.judges.judge import read_line
from edge.line.supervisor import Line
from edge.messages import Verdict

BOARDS = {"0": True, "1": False, "2": True}


@pytest.fixture
def recipe(tiny_bundle: Path, tmp_path: Path, textured: np.ndarray) -> Any:
    """Makes the recipe of a line whose bundle has engines for the fake GPU; arguments go into their plans."""

    def make(kind: str = "auto", **plan: Any) -> Path:
        bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
        write_engines(bundle, **plan)
        source = write_boards(tmp_path, BOARDS, textured) + "\nfps = 20"
        more = f'[timing]\ndeadline_ms = 5000\n[engine]\nkind = "{kind}"\nprecision = "fp32"'
        return write_recipe(tmp_path, bundle, source, more)

    return make


@pytest.mark.parametrize(
    ("plan", "variables", "why", "deaths"),
    [
        ({"crashes": True}, {}, f"^{re.escape(CRASHED)}: {RETRY}$", 1),
        ({}, {"FAKE_CUDA_LOSE_AFTER": 1}, f"the GPU does not answer: .*: {RETRY}", 1),
        ({}, {}, "on tensorrt fp32: map differs by", 0),
        ({}, {"FAKE_CUDA_INIT": 803}, "no GPU can be used: cuInit failed: system has unsupported", 0),
        ({"scratch_bytes": 1 << 40}, {}, r"scratch memory for a lane; .* MiB are free", 0),
        ({"version": "9.0"}, {}, "cannot be loaded: the plan was built by version 9.0", 0),
    ],
    ids=["a crash", "a lost GPU", "wrong results", "a broken driver", "short memory", "a plan that is refused"],
)
def test_a_gpu_that_fails_at_the_start_is_left_out(
    bench: Machine,
    recipe: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plan: dict[str, Any],
    variables: dict[str, Any],
    why: str,
    deaths: int,
) -> None:
    """Every part gets its right verdict from the CPU. Infer dies at most once; the metrics name the reason."""
    for name, value in bench.having(**variables).environment().items():
        monkeypatch.setenv(name, value)
    recipe, digest, judges = read_line(recipe(**plan))
    told, heard = Told(), list[object]()
    with Line(recipe, digest, judges, state=tmp_path, metrics=told.metrics, hear=heard.append) as line:
        while not line.ended:
            line.tick()
        running_now = {sample.name: sample.labels for sample in told.samples()}["linejudge_engine_info"]
        assert line._children["infer"].restarts == deaths
    assert running_now["engine"] == "openvino"
    assert [each.verdict for each in heard if isinstance(each, Verdict)] == ["pass", "reject", "pass"]
    reasons = {
        sample.labels["engine"]: sample.labels["reason"]
        for sample in told.samples()
        if sample.name == "linejudge_engine_left_out"
    }
    assert re.search(why, reasons["tensorrt"]), reasons
    shown = {
        sample.labels["engine"]: sample.value
        for sample in told.samples()
        if sample.name == "linejudge_engine_fallback"
    }
    assert shown == {"openvino": 0, "tensorrt": 1}


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ({"crashes": True}, "infer: ended with status -11: engine.kind 'tensorrt' demands the GPU"),
        ({}, "infer: engine.kind 'tensorrt': golden frame golden/clean.png on tensorrt fp32: map differs by"),
        ({"version": "9.0"}, "infer: engine.kind 'tensorrt': judge.fp32.fake.engine cannot be loaded: "),
    ],
    ids=["a crash", "wrong results", "a plan that is refused"],
)
def test_a_line_that_must_have_the_gpu_does_not_start_without_it(
    bench: Machine, recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: dict[str, Any], why: str
) -> None:
    """The recipe names the engine: no other one replaces it, and the error says what failed and what to set."""
    for name, value in bench.environment().items():
        monkeypatch.setenv(name, value)
    recipe, digest, judges = read_line(recipe("tensorrt", **plan))
    line = Line(recipe, digest, judges, state=tmp_path, metrics=Told().metrics, hear=print)
    with pytest.raises(LineError) as refused, line:
        pass
    assert str(refused.value).startswith(why)
    assert "set engine.kind to 'auto'" in str(refused.value)
