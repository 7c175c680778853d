"""Names of pictures that are not UTF-8, as old cameras and shares give them, stop no step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def renamed(tmp_path: Path) -> Callable[[Path, str], Path]:
    """Makes a copy of a folder in which the names of what a pattern finds begin with `M\xfc`, in Latin-1."""

    def make(folder: Path, pattern: str) -> Path:
        data = Path(shutil.copytree(folder, tmp_path / "data"))
        for path in list(data.glob(pattern)):
            path.rename(path.with_name(os.fsdecode(b"M\xfc" + os.fsencode(path.name))))
        return data

    return make


def test_parts_may_have_any_name(
    trt_build: Run, calibrated_anomaly: Path, part_folder: Path, renamed: Callable[..., Path], tmp_path: Path
) -> None:
    """A bundle is made of them, and the report names them readably."""
    pytest.importorskip("matplotlib", reason="needs matplotlib, which draws reports")
    data, bundle, report = renamed(part_folder, "*/*/*.png"), tmp_path / "bundle", tmp_path / "report"
    assert trt_build("pack", calibrated_anomaly, bundle, "--data", data)[0] == 0
    verdicts = tmp_path / "verdicts.jsonl"
    assert trt_build("evaluate", bundle, data, "--report", report, "--verdicts", verdicts)[0] == 0
    assert r"spot/M\\xfc000" in verdicts.read_text()


def test_boards_may_have_any_name(
    trt_build: Run, pcb_draft: Path, pcb_pairs: Path, copy: Callable[[Path], Path], renamed: Callable[..., Path]
) -> None:
    """Pairs stay together."""
    data, draft = renamed(pcb_pairs, "*"), copy(pcb_draft)
    assert trt_build("calibrate", draft, data)[0] == 0
    assert trt_build("evaluate", draft, data, "--report", data / "worst")[0] == 0


def test_products_may_have_any_name(
    trt_build: Run,
    matcher_draft: Path,
    product_folder: Path,
    copy: Callable[[Path], Path],
    renamed: Callable[..., Path],
) -> None:
    """Whether a product is kept from training is decided by its name, whatever that is."""
    assert trt_build("calibrate", copy(matcher_draft), renamed(product_folder, "*"), "--rate", "0.2")[0] == 0
