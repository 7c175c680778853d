"""Parts in tiles: trained with tile by tile, and calibrated, packed and measured as whole parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from drafts import SIZE, part

from edge.bundle import Draft, read_draft, read_model, write_manifest
from edge.judges.judge import read_judges
from edge.manifest import InputSpec
from edge.recipe import Recipe, Synthetic
from edge.tiles import Grid
from trt_build.data.errors import DatasetError
from trt_build.data.parts import picture, pictures, read_parts, whole_of
from trt_build.graphs.int8 import add_int8
from trt_build.methods.base import EvaluateOptions
from trt_build.methods.stpm.method import METHOD as methods
from trt_build.packing.pack import pack
from trt_build.packing.threshold import CalibrationOptions

SPEC = InputSpec(height=SIZE, width=SIZE, color="rgb")
GRID = Grid(3, 2, SIZE, SIZE)
HEIGHT, WIDTH = GRID.size


def large(seed: int, spot: tuple[int, int] | None = None) -> np.ndarray:
    """A part of the size of 3x2 tiles, with a spot of 8x8 pixels or none."""
    picture = np.tile(part(seed), (3, 3, 1))[:HEIGHT, :WIDTH].copy()
    if spot is not None:
        y, x = spot
        picture[y : y + 8, x : x + 8] = np.minimum(picture[y : y + 8, x : x + 8].astype(int) + 90, 255)
    return picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts whose spots lie on seams, in corners and in the middle of a tile."""
    folder = tmp_path_factory.mktemp("large")
    spots = [(20, 20), (0, 0), (24, 44), (HEIGHT - 8, WIDTH - 8), (8, 30), (36, 24)]
    shown = {f"train/good/{i:03}": large(i) for i in range(120)}
    shown |= {f"test/good/{i}": large(1000 + i) for i in range(8)}
    for i, (y, x) in enumerate(spots):
        shown[f"test/spot/{i}"] = large(2000 + i, (y, x))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[y : y + 8, x : x + 8] = 255
        shown[f"ground_truth/spot/{i}_mask"] = mask
    for name, pixels in shown.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)
    return folder


def test_a_part_with_tiles_gives_a_picture_for_each(folder: Path) -> None:
    """They are cut as the line cuts them; a picture that they would magnify is refused."""
    parts = [replace(part, tiles=(3, 2)) for part in read_parts(folder).train[:2]]
    found = pictures(parts, SPEC)
    assert found.shape == (12, 3, SIZE, SIZE)
    whole = whole_of(parts[1], SPEC)
    assert (whole.height, whole.width) == (HEIGHT, WIDTH)
    assert np.array_equal(found[6:], np.concatenate(GRID.cut(picture(parts[1], whole))))
    with pytest.raises(
        DatasetError, match="is 64x48, smaller than 4x2 tiles of 32x32, 80x48: train with fewer"
    ):
        pictures([replace(parts[0], tiles=(4, 2))], SPEC)


@pytest.fixture
def tiled(anomaly_draft: Path, copy: Callable[[Path], Path]) -> Draft:
    """As export leaves a draft of a network that was trained with tiles."""
    draft = copy(anomaly_draft)
    write_manifest(draft, msgspec.structs.replace(read_draft(draft).manifest, tiles=(3, 2)))
    return read_draft(draft)


def test_a_model_with_tiles_is_calibrated_packed_and_measured_on_whole_parts(
    tiled: Draft, folder: Path, tmp_path: Path
) -> None:
    """One score a part, spots on seams found too; a line takes tiles and calibration from the bundle."""
    whole = tiled.manifest.picture
    found = methods.calibrate(tiled.folder, folder, CalibrationOptions(rate=0.1))
    assert found.n == len(found.scores) < 40
    bundle = pack(tiled.folder, tmp_path / "bundle", cases=methods.held_out(folder, whole))
    golden = bundle.golden()
    assert {case.image.shape for case in golden} == {(1, 3, HEIGHT, WIDTH)}
    assert {case.expected["map"].shape for case in golden} == {(1, 1, HEIGHT // 4, WIDTH // 4)}
    figures = methods.evaluate(bundle.folder, folder, EvaluateOptions()).figures
    assert figures["image_auroc"] > 0.9
    assert figures["pixel_auroc"] > 0.99
    source = Synthetic(width=WIDTH, height=HEIGHT, color="bgr")
    (judge,) = read_judges(Recipe(line="l", bundle=str(bundle.folder), source=source))
    assert judge.manifest.tiles == (3, 2)
    assert judge.rule.calibration is not None
    assert len(judge.rule.calibration) == found.n


def test_int8_is_calibrated_on_tiles(tiled: Draft, folder: Path) -> None:
    """A graph takes no whole picture."""
    add_int8(tiled.folder, methods.calibration_pictures(folder, tiled.manifest.picture)[:2])
    assert read_model(tiled.folder).manifest.precisions() == ["fp32", "int8"]
