"""TensorRT-RTX fails by returning None, and the line says so in words of its own."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.engines.rtx import Kernels, check_valid
from edge.errors import EngineError

EAGER, DISABLED = SimpleNamespace(EAGER=1), SimpleNamespace(DISABLED=0)
RTX = SimpleNamespace(
    DynamicShapesKernelSpecializationStrategy=EAGER,
    CudaGraphStrategy=DISABLED,
    ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED=2),
)


def engine_of(config: object) -> SimpleNamespace:
    return SimpleNamespace(
        create_runtime_config=lambda: config, create_execution_context=lambda runtime_config: runtime_config
    )


def config_of(cache: object) -> SimpleNamespace:
    return SimpleNamespace(
        create_runtime_cache=lambda: cache,
        set_runtime_cache=lambda cache: True,
        set_execution_context_allocation_strategy=lambda strategy: None,
    )


@pytest.mark.parametrize("config", [None, config_of(None)], ids=["no configuration", "no cache"])
def test_an_engine_without_a_runtime_cache_is_refused(tmp_path: Path, config: object) -> None:
    """Without it kernels would be compiled at each start, and nobody would know why."""
    with pytest.raises(EngineError, match=r"judge\.kernels: tensorrt_rtx makes no runtime cache"):
        Kernels(tmp_path / "judge.kernels").context(RTX, engine_of(config))


def test_kernels_that_are_not_given_are_not_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The line goes on, and a warning says what it costs."""
    kernels = Kernels(tmp_path / "judge.kernels")
    kernels.context(RTX, engine_of(config_of(SimpleNamespace(serialize=lambda: None))))
    with caplog.at_level(logging.WARNING):
        kernels.keep()
    assert "gives no kernels: the next start compiles them again" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_real_plan_of_another_kind_is_refused_with_the_reason() -> None:
    """By the real library, which needs no GPU for that."""
    rtx = pytest.importorskip("tensorrt_rtx")
    runtime = rtx.Runtime(rtx.Logger(rtx.Logger.INTERNAL_ERROR))
    with pytest.raises(EngineError, match=r"it\.engine cannot run on this machine \(malformed engine\): run"):
        check_valid(rtx, runtime, b"no plan at all", "it.engine")
