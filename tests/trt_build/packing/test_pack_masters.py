"""Masters are packed by their view, once each, and only if they are pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import BundleError
from edge.manifest import InputSpec
from trt_build.data.cases import Case, pair_cases
from trt_build.data.pairs import Pair
from trt_build.packing.pack import pack

SPEC = InputSpec(height=64, width=64)


def test_masters_are_packed_by_view(
    calibrated_pcb: Path, pairs: list[Pair], cases: list[Case], tmp_path: Path
) -> None:
    """A line can run with the bundle's own masters."""
    cv2.imwrite(str(tmp_path / "top.png"), pairs[3].master)
    bundle = pack(calibrated_pcb, tmp_path / "bundle", cases=cases, masters={"top": tmp_path / "top.png"})
    assert np.array_equal(bundle.master("top"), pairs[3].master)


def test_a_master_is_packed_once(
    calibrated_pcb: Path, pairs: list[Pair], cases: list[Case], tmp_path: Path
) -> None:
    """A golden case that has a view's master names that file."""
    cv2.imwrite(str(tmp_path / "top.png"), pairs[50].master)
    masters = {"top": tmp_path / "top.png"}
    bundle = pack(
        calibrated_pcb, tmp_path / "bundle", cases=cases, golden=pair_cases(pairs[50:52], SPEC), masters=masters
    )
    first, second = bundle.manifest.golden
    assert first.master == bundle.manifest.masters["top"]
    assert second.master is not None
    assert second.master.path == "golden/51_master.png"
    assert not (bundle.folder / "golden/50_master.png").exists()


def test_a_master_that_is_no_picture_is_refused(
    calibrated_pcb: Path, cases: list[Case], tmp_path: Path
) -> None:
    """The error names the file, and no bundle is left."""
    (tmp_path / "top.png").write_bytes(b"not a picture")
    with pytest.raises(BundleError, match=r"top\.png: expected a picture"):
        pack(calibrated_pcb, tmp_path / "bundle", cases=cases, masters={"top": tmp_path / "top.png"})
    assert not (tmp_path / "bundle").exists()
