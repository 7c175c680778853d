"""Parts of which it is known that they are bad, and not where."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle import read_model

Run = Callable[..., tuple[int, str, str]]
OF_PIXELS = ("pixel_auroc", "pixel_ap", "aupro30", "aupro05")


@pytest.fixture
def without_masks(part_folder: Path, tmp_path: Path) -> Path:
    """In MVTec AD's layout but for ground_truth/."""
    return Path(shutil.copytree(part_folder, tmp_path / "parts", ignore=shutil.ignore_patterns("ground_truth")))


def test_good_and_bad_are_enough_for_every_step(
    trt_build: Run, anomaly_draft: Path, without_masks: Path, copy: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Thresholds, a bundle, and figures of pictures alone, with a report."""
    pytest.importorskip("matplotlib", reason="needs matplotlib, which draws reports")
    draft, bundle, report = copy(anomaly_draft), tmp_path / "bundle", tmp_path / "report"
    assert trt_build("calibrate", draft, without_masks, "--rate", "0.2")[0] == 0
    assert trt_build("pack", draft, bundle, "--data", without_masks)[0] == 0
    assert trt_build("verify", bundle, "--data", without_masks)[0] == 0
    status, said, _ = trt_build("evaluate", bundle, without_masks, "--report", report)
    assert status == 0
    assert all(name in said for name in ("image_auroc", "escape", "overkill"))
    assert not any(name in said for name in OF_PIXELS)
    assert (report / "report.html").is_file()
    assert read_model(bundle).manifest.calibration


def test_with_masks_there_are_figures_of_pixels(
    trt_build: Run, calibrated_anomaly: Path, part_folder: Path, tmp_path: Path
) -> None:
    """The same parts, told where."""
    bundle = tmp_path / "bundle"
    assert trt_build("pack", calibrated_anomaly, bundle, "--data", part_folder)[0] == 0
    said = trt_build("evaluate", bundle, part_folder)[1]
    assert all(name in said for name in OF_PIXELS)


def test_a_model_is_trained_without_masks(without_masks: Path) -> None:
    """Training looks at good parts; masks are for figures."""
    from trt_build.data.parts import read_parts, split_good

    parts = read_parts(without_masks)
    assert split_good(parts.train).fit
    assert [part.mask for part in parts.test] == [None] * len(parts.test)
