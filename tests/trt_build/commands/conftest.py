"""Trainings on a machine that holds no weights, and the one line that a refused one says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trt_build.backbones.published import cache_folder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that holds no weights; where the user's would lie."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGE_DATA", raising=False)
    cache_folder().mkdir(parents=True)
    return cache_folder()


@pytest.fixture
def refused(trt_build: Run, tmp_path: Path) -> Callable[..., str]:
    """Runs `trt-build train` with what it cannot take; the one line that it says."""

    def run(method: str, data: Path, *options: str) -> str:
        status, _, said = trt_build("train", method, data, tmp_path / "run", *options)
        assert (status, said.count("\n")) == (1, 1), said
        assert said.startswith("trt-build: ")
        assert not (tmp_path / "run").exists()
        return said

    return run
