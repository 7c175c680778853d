"""Each engine in each precision, with the tiny bundle and its golden frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.bundle import Golden, read_bundle
from edge.engines import open_engine
from edge.engines.base import Engine
from edge.recipe import EngineChoice

REAL = [(kind, precision) for kind in ("openvino", "onnxruntime") for precision in ("fp32", "int8")]


@pytest.fixture(params=REAL, ids=" ".join)
def real(request: pytest.FixtureRequest, tiny_bundle: Path) -> Iterator[Engine]:
    """An engine with a network, loaded."""
    kind, precision = request.param
    if kind == "onnxruntime":
        pytest.importorskip("onnxruntime")
    with open_engine(EngineChoice(kind=kind, precision=precision), read_bundle(tiny_bundle)) as engine:
        yield engine


@pytest.fixture(params=[*REAL, ("constant", "fp32")], ids=" ".join)
def engine(
    request: pytest.FixtureRequest, tiny_bundle: Path, constant_bundle: Callable[..., Path]
) -> Iterator[Engine]:
    """Every engine there is, loaded."""
    kind, precision = request.param
    folder = constant_bundle() if kind == "constant" else tiny_bundle
    if kind == "onnxruntime":
        pytest.importorskip("onnxruntime")
    choice = EngineChoice(kind=kind, precision="auto" if kind == "constant" else precision)
    with open_engine(choice, read_bundle(folder)) as engine:
        yield engine


@pytest.fixture
def cases(tiny_bundle: Path) -> list[Golden]:
    return read_bundle(tiny_bundle).golden()
