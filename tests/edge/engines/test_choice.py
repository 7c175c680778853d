"""Which engine and precision are taken, and what is said of those that cannot be."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import edge.engines
from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.errors import EngineError
from edge.recipe import EngineChoice


def test_auto_takes_openvino_and_int8(tiny_bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The fastest there is, and the log says what was taken."""
    caplog.set_level(logging.INFO)
    engine = open_engine(EngineChoice(), read_bundle(tiny_bundle))
    assert (engine.name, engine.precision) == ("openvino", "int8")
    assert "engine openvino with int8, 2 lanes, for bundle tiny" in caplog.text


def test_auto_says_what_it_left_out(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without OpenVINO the next engine runs, and the log says how to get the faster one."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(edge.engines, "find_spec", lambda name: None if name == "openvino" else object())
    assert open_engine(EngineChoice(), read_bundle(tiny_bundle)).name == "onnxruntime"
    assert "engine openvino left out: openvino is not installed: pip install linejudge" in caplog.text


@pytest.mark.parametrize(
    ("kind", "install"), [("openvino", "pip install linejudge"), ("onnxruntime", r"linejudge\[onnxruntime\]")]
)
def test_a_missing_library_names_what_to_install(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, kind: str, install: str
) -> None:
    """The line engineer can copy the command."""
    monkeypatch.setattr(edge.engines, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=f"{kind} is not installed: .*{install}"):
        open_engine(EngineChoice(kind=kind), read_bundle(tiny_bundle))


def test_a_precision_that_the_bundle_lacks_is_refused(constant_bundle: Callable[..., Path]) -> None:
    """It is not silently replaced by another."""
    with pytest.raises(
        EngineError, match=r"engine\.precision 'int8': of bundle constant, constant can run fp32"
    ):
        open_engine(EngineChoice(precision="int8"), read_bundle(constant_bundle()))


def test_choosing_an_engine_loads_no_library() -> None:
    """Stages that run no network do not pay for one."""
    script = "import sys, edge.engines; sys.exit(bool({'openvino', 'onnxruntime', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
