"""A region's mask, decoded as docs/verdicts.md says, is what the map showed there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edge.judges.decide import Rule, decide
from edge.judges.masks import MOST_RUNS, run_lengths
from edge.messages import Region

VERDICTS = (Path(__file__).parents[3] / "docs" / "verdicts.md").read_text()
RULE = Rule(name="a", bundle="b" * 64, thresholds={"dent": 0.5, "stain": 0.5}, stride=4, masks=True)
AS_IS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

ToFrame = tuple[float, float, float, float, float, float]


def decoded(region: Region) -> np.ndarray:
    """The mask `(h, w)` bool of a region in a verdict, by the code of docs/verdicts.md."""
    (code,) = re.findall(r"\n( *h, w = mask\[.*?)\n```", VERDICTS, re.DOTALL)
    names: dict[str, Any] = {"np": np, "mask": msgspec.json.decode(msgspec.json.encode(region))["mask"]}
    exec(code, names)
    return np.asarray(names["pixels"])


def found(map_: np.ndarray, to_frame: ToFrame = AS_IS, rule: Rule = RULE) -> list[Region]:
    return decide({"map": map_[None].astype(np.float32)}, to_frame, rule).regions


def blobs(seed: int) -> np.ndarray:
    """A map of two kinds `(2, 24, 32)` with smooth patches over and under 0.5."""
    noise = np.random.default_rng(seed).normal(0, 1, (24, 32, 2)).astype(np.float32)
    return np.moveaxis(cv2.GaussianBlur(noise, (0, 0), 1.5) * 2, -1, 0)


@pytest.mark.parametrize("seed", range(5))
def test_the_masks_of_all_regions_are_the_cells_over_the_threshold(seed: int) -> None:
    """Put at the places of their boxes, they give the map that reached its threshold, and no cell twice."""
    map_ = blobs(seed)
    counted = np.zeros(map_.shape, int)
    for region in found(map_):
        mask = decoded(region)
        assert mask.shape == (region.h / 4, region.w / 4)
        assert mask.sum() * 16 == region.area_px
        top, left = int(region.y / 4), int(region.x / 4)
        counted[
            list(RULE.thresholds).index(region.kind), top : top + len(mask), left : left + mask.shape[1]
        ] += mask
    assert np.array_equal(counted, map_ >= 0.5)
    assert counted.any()


def test_a_mask_leaves_out_what_belongs_to_another_region() -> None:
    """A speck inside a ring is a region of its own, though it lies in the ring's box."""
    map_ = np.zeros((2, 9, 9))
    map_[0, 1:8, 1:8], map_[0, 2:7, 2:7], map_[0, 4, 4] = 0.9, 0.0, 0.8
    ring, speck = found(map_)
    assert (decoded(ring).sum(), decoded(speck).tolist()) == (24, [[True]])
    assert not decoded(ring)[3, 3]


@pytest.mark.parametrize(
    ("to_frame", "turned"),
    [
        pytest.param((2.0, 0.0, 100.0, 0.0, 3.0, -10.0), lambda grid: grid, id="enlarged and moved"),
        pytest.param((0.0, -2.0, 100.0, 3.0, 0.0, 50.0), lambda grid: np.rot90(grid, -1), id="a quarter turn"),
        pytest.param((-1.0, 0.0, 100.0, 0.0, 1.0, 0.0), np.fliplr, id="mirrored"),
    ],
)
def test_a_mask_lies_on_the_frame_as_the_part_does(to_frame: ToFrame, turned: Any) -> None:
    """Its grid is upright in the frame, and has as many places as the map has cells there."""
    for plain, moved in zip(found(blobs(1)), found(blobs(1), to_frame), strict=True):
        assert np.array_equal(decoded(moved), turned(decoded(plain)))


def test_a_mask_of_a_part_that_lies_a_little_turned_covers_the_same_pixels() -> None:
    """Drawn on the frame and turned back, it is the patch of the map to within a cell."""
    yy, xx = np.mgrid[:40, :40]
    map_ = np.zeros((2, 40, 40))
    map_[0] = np.hypot((yy - 20) / 6, (xx - 18) / 12) < 1
    turn = cv2.getRotationMatrix2D((80, 80), 3.0, 1.0)
    (region,) = found(map_, tuple(turn.ravel().tolist()))
    x, y, w, h = (round(value) for value in (region.x, region.y, region.w, region.h))
    frame = np.zeros((200, 200), np.uint8)
    frame[y : y + h, x : x + w] = cv2.resize(
        decoded(region).astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST
    )
    back = cv2.warpAffine(frame, turn, (160, 160), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    true = np.kron(map_[0] >= 0.5, np.ones((4, 4), bool))
    assert (back.astype(bool) & true).sum() / (back.astype(bool) | true).sum() > 0.9


def test_with_extents_a_mask_holds_the_cells_in_the_box() -> None:
    """A model that tells the sides of a defect has cells over the threshold at its middle."""
    map_ = np.zeros((2, 16, 16), np.float32)
    map_[1, 5:8, 5:8], map_[1, 6, 6], map_[0, 6, 7] = 0.6, 0.9, 0.4
    extents = np.full((1, 4, 16, 16), 10.0, np.float32)
    (region,) = decide({"map": map_[None], "extents": extents}, AS_IS, RULE).regions
    grid = decoded(region)
    assert grid.shape == (5, 5)
    assert grid[1:4, 1:4].all()
    assert grid.sum() == 9


def test_a_mask_of_very_many_runs_is_made_coarser() -> None:
    """It stays small enough for a verdict, and of about the same share of the box."""
    map_ = np.zeros((2, 120, 120))
    map_[0] = np.random.default_rng(0).random((120, 120)) < 0.6
    region = max(found(map_), key=lambda one: one.area_px)
    assert region.mask is not None
    assert 100 < len(region.mask.counts) <= MOST_RUNS
    rows, columns = region.mask.size
    assert sum(region.mask.counts) == rows * columns < 120 * 120
    assert decoded(region).mean() == pytest.approx(region.area_px / (region.w * region.h), abs=0.1)


def test_a_run_of_defective_places_at_the_start_follows_a_run_of_none() -> None:
    """Column by column, as COCO codes masks."""
    assert run_lengths(np.array([[True, False, False], [True, True, False]])) == [0, 2, 1, 1, 2]
    assert run_lengths(np.array([[False, True], [False, True]])) == [2, 2]


def test_without_masks_a_region_says_nothing_about_them() -> None:
    """A recipe that asks for boxes gets the verdicts that it always got."""
    region = found(blobs(0), rule=replace(RULE, masks=False))[0]
    assert region.mask is None
    assert b"mask" not in msgspec.json.encode(region)
