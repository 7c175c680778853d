"""A ring and engines for the tests of the infer stage, and a publisher on a ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import Desk
from infer_parts import WARPER, ring_of

from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.engines.base import Engine
from edge.memory.ring import Ring
from edge.recipe import EngineChoice
from edge.stages.judge_engine import JudgeEngine


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return ring_of(tmp_path)


@pytest.fixture
def engine(tiny_bundle: Path) -> Iterator[Engine]:
    with open_engine(EngineChoice(), read_bundle(tiny_bundle)) as engine:
        yield engine


@pytest.fixture
def anomaly(score_bundle: Path) -> Iterator[JudgeEngine]:
    with open_engine(EngineChoice(), read_bundle(score_bundle)) as engine:
        yield JudgeEngine(engine=engine, warper=WARPER)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
