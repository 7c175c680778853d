"""Bundles of each kind of model, packed from calibrated drafts."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.bundle import read_model
from edge.manifest import InputSpec
from trt_build.data.cases import Case, pair_cases
from trt_build.data.pairs import Pair, read_pairs
from trt_build.methods.matcher.method import METHOD as products
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.pack import pack

SPEC = InputSpec(height=64, width=64)


@pytest.fixture(scope="session")
def pairs(pcb_pairs: Path) -> list[Pair]:
    return read_pairs(pcb_pairs)


@pytest.fixture(scope="session")
def cases(pairs: list[Pair]) -> list[Case]:
    return list(pair_cases(pairs, SPEC))


@pytest.fixture(scope="session")
def packed(calibrated_pcb: Path, cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a comparator."""
    folder = tmp_path_factory.mktemp("packed") / "line-7"
    pack(calibrated_pcb, folder, cases=cases, notice="Apache-2.0")
    return folder


@pytest.fixture(scope="session")
def packed_anomaly(
    calibrated_anomaly: Path, part_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle of a model that gives a score and a map."""
    folder = tmp_path_factory.mktemp("packed") / "anomaly"
    spec = read_model(calibrated_anomaly).manifest.input
    pack(calibrated_anomaly, folder, cases=parts.held_out(part_folder, spec))
    return folder


@pytest.fixture(scope="session")
def packed_matcher(
    calibrated_matcher: Path, product_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle of a matcher."""
    folder = tmp_path_factory.mktemp("packed") / "matcher"
    spec = read_model(calibrated_matcher).manifest.input
    pack(calibrated_matcher, folder, cases=products.held_out(product_folder, spec))
    return folder
