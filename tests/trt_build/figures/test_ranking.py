from __future__ import annotations

import itertools
from collections import deque

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs scipy, which only building models uses")

from scipy import stats

from edge.manifest import least_rejected
from trt_build.figures.ranking import (
    ScoreError,
    clopper_pearson,
    escape_and_overkill,
    image_auroc,
    resize_map,
    sweep,
    sweep_pixels,
)


def coarse(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Scores with many ties."""
    return rng.integers(0, 7, shape).astype(np.float32)


def blobs(seed: int, count: int = 3, size: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Maps and masks `(N, H, W)` with ties, in which regions touch at corners; the last mask is empty."""
    rng = np.random.default_rng(seed)
    masks = rng.random((count, size, size)) < 0.25
    masks[-1] = False
    return coarse(rng, count, size, size) + masks * rng.integers(0, 4, masks.shape).astype(np.float32), masks


def regions_of(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Regions joined at sides or corners, by flooding from pixel to pixel."""
    left = set(zip(*np.nonzero(mask), strict=True))
    regions = []
    while left:
        queue, region = deque([left.pop()]), []
        while queue:
            y, x = queue.popleft()
            region.append((y, x))
            for near in itertools.product((y - 1, y, y + 1), (x - 1, x, x + 1)):
                if near in left:
                    left.remove(near)
                    queue.append(near)
        regions.append(region)
    return regions


def aupro_by_sweeping(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """AUPRO as it is defined: every threshold, every region, one after another."""
    curve = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        seen = maps >= threshold
        covered = [
            np.mean([seen[n][pixel] for pixel in region])
            for n, mask in enumerate(masks)
            for region in regions_of(mask)
        ]
        curve.append((float(seen[~masks].mean()), float(np.mean(covered))))
    area = 0.0
    for (x1, y1), (x2, y2) in itertools.pairwise(curve):
        if x1 >= limit:
            break
        end = min(x2, limit)
        y_end = y1 + (y2 - y1) * (end - x1) / (x2 - x1) if x2 > x1 else y2
        area += (end - x1) * (y1 + y_end) / 2
    return area / limit


def test_auroc_is_the_chance_that_a_defective_part_scores_higher():
    """Of all pairs of a good and a defective part, an equal score counts as half."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        good, bad = coarse(rng, 13), coarse(rng, 8) + 1
        pairs = [(b > g) + (b == g) / 2 for g in good for b in bad]
        assert image_auroc(good, bad) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize(
    ("good", "bad", "auroc"),
    [([1, 2], [3, 4], 1.0), ([3, 4], [1, 2], 0.0), ([5, 5], [5], 0.5), ([1, 3], [2, 3], 0.625)],
    ids=["parted", "turned round", "all equal", "one tie"],
)
def test_auroc_of_a_few_scores(good: list[float], bad: list[float], auroc: float):
    """Worked out by hand."""
    assert image_auroc(np.array(good), np.array(bad)) == auroc


def test_the_caller_s_scores_stay_in_their_order():
    """Scores belong to pictures by their place; ranking them does not move them."""
    good, bad = np.array([3, 1, 2], np.float32), np.array([5, 4, 9], np.float32)
    image_auroc(good, bad)
    assert (good.tolist(), bad.tolist()) == ([3, 1, 2], [5, 4, 9])


def test_the_roc_goes_from_corner_to_corner_over_its_area():
    """The drawn curve and the printed area are of one kind, and no point is missing from the curve."""
    rng = np.random.default_rng(1)
    good, bad = coarse(rng, 40), coarse(rng, 30) + 1
    x, y = sweep(good, bad).roc()
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.diff(x) @ (y[1:] + y[:-1]) / 2 == pytest.approx(image_auroc(good, bad))
    for threshold in set(good.tolist() + bad.tolist()):
        expected = np.mean(bad >= threshold)
        at = x.searchsorted(np.mean(good >= threshold), side="right") - 1
        assert y[at] >= expected - 1e-12


def test_f1_max_is_the_best_of_all_thresholds():
    """Every score is tried as a threshold; the one named gives the F1 named."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        good, bad = coarse(rng, 15), coarse(rng, 9) + 1

        def f1(threshold: float, good: np.ndarray = good, bad: np.ndarray = bad) -> float:
            right, wrong = (bad >= threshold).sum(), (good >= threshold).sum()
            return float(2 * right / (right + wrong + len(bad)))

        best, threshold = sweep(good, bad).f1_max
        assert best == pytest.approx(max(f1(t) for t in [*good, *bad]))
        assert f1(threshold) == pytest.approx(best)


def test_ap_is_the_mean_precision_at_the_defective_pixels():
    """Precision with everything at least as high as each defective pixel, averaged over those."""
    for seed in range(10):
        maps, masks = blobs(seed)
        precisions = [masks[maps >= score].mean() for score in maps[masks]]
        assert sweep_pixels(maps, masks).ap == pytest.approx(np.mean(precisions))


def test_pixel_figures_are_those_of_all_pixels_as_if_each_were_a_part():
    """Pixels of all pictures lie in one pool."""
    maps, masks = blobs(3)
    good, bad = maps[~masks], maps[masks]
    assert sweep_pixels(maps, masks).auroc == image_auroc(good, bad)
    assert sweep_pixels(maps, masks).f1_max[0] == sweep(good, bad).f1_max[0]


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_agrees_with_a_sweep_over_every_threshold(limit: float):
    """Sorting once gives the very area that the definition gives, with ties and touching regions."""
    for seed in range(15):
        maps, masks = blobs(seed)
        assert sweep_pixels(maps, masks).aupro(limit) == pytest.approx(aupro_by_sweeping(maps, masks, limit))


@pytest.mark.parametrize(("limit", "expected"), [(1.0, 0.9), (0.5, 0.8), (0.3, 2 / 3), (0.1, 0.5)])
def test_aupro_of_a_toy_case(limit: float, expected: float):
    """Worked out by hand.

    Ten good pixels, a region of one pixel and one of four. The single pixel outranks all; two good pixels
    come next, then the region of four. So half is covered up to a rate of 0.2, all of it from there on:
    at a limit of 0.5 the area is 0.2 * 0.5 + 0.3 * 1 = 0.4, over 0.5; and so on.
    """
    mask = np.zeros((3, 5), bool)
    mask[0, 0] = True
    mask[1:, 3:] = True
    map_ = np.zeros((3, 5), np.float32)
    map_[0, 0], map_[1:, 3:] = 9, 5
    map_[0, 4], map_[2, 0] = 7, 8
    assert sweep_pixels([map_], [mask]).aupro(limit) == pytest.approx(expected)


def test_aupro_is_cut_off_between_two_points_of_the_curve():
    """Four good pixels tie with the region: the line from (0, 0) to (1, 1) is halved at a limit of one half."""
    mask = np.array([[True, False, False, False, False]])
    map_ = np.ones((1, 5), np.float32)
    assert sweep_pixels([map_], [mask]).aupro(1.0) == pytest.approx(0.5)
    assert sweep_pixels([map_], [mask]).aupro(0.5) == pytest.approx(0.25)


def test_a_small_region_counts_as_much_as_a_large_one():
    """A missed pinhole costs as much as a missed stain, and regions that touch at a corner are one."""
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = True
    mask[4:, 4:] = True
    map_ = mask.astype(np.float32)
    map_[0, 0] = -1
    assert sweep_pixels([map_], [mask]).aupro(0.3) == pytest.approx(0.5)
    mask[3, 3] = True  # touches the large one
    map_[3, 3] = 1
    assert sweep_pixels([map_], [mask]).aupro(0.3) == pytest.approx(0.5)


def test_maps_of_different_sizes_are_pooled():
    """Pictures of tiles of all sizes make one figure."""
    maps, masks = blobs(5, count=2, size=6)
    more_maps, more_masks = blobs(6, count=2, size=11)
    mixed = sweep_pixels([*maps, *more_maps], [*masks, *more_masks])
    good = np.concatenate((maps[~masks], more_maps[~more_masks]))
    bad = np.concatenate((maps[masks], more_maps[more_masks]))
    assert mixed.auroc == image_auroc(good, bad)
    assert mixed.covered[-1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("maps", "masks", "says"),
    [
        (np.zeros((1, 4, 4)), np.zeros((1, 4, 4), bool), "at least one defect"),
        (np.zeros((1, 4, 4)), np.ones((1, 4, 4), bool), "some pixel without a defect"),
        (np.zeros((1, 2, 2)), np.ones((1, 4, 4), bool), r"map 0: is \(2, 2\), its mask \(4, 4\)"),
        (np.zeros((1, 4, 4)), np.ones((1, 4, 4), np.uint8), "uint8: expected a mask of bool"),
        (np.full((1, 4, 4), np.nan), np.eye(4, dtype=bool)[None], "map 0: 16 of 16 scores are not finite"),
    ],
    ids=["no defect", "no background", "another shape", "no bool", "not a number"],
)
def test_what_cannot_be_ranked_is_refused(maps: np.ndarray, masks: np.ndarray, says: str):
    """No figure is printed that means nothing."""
    with pytest.raises(ScoreError, match=says):
        sweep_pixels(maps.astype(np.float32), masks)


@pytest.mark.parametrize("limit", [0.0, 1.5, -0.3])
def test_a_limit_is_a_rate(limit: float):
    """An area up to no rate, or beyond all, is asked for by mistake."""
    with pytest.raises(ScoreError, match="limit"):
        sweep_pixels(*blobs(0)).aupro(limit)


def test_scores_that_are_missing_or_no_numbers_are_refused():
    """A crashed model does not get a figure."""
    with pytest.raises(ScoreError, match="good: expected scores"):
        image_auroc(np.array([]), np.array([1.0]))
    with pytest.raises(ScoreError, match="bad: 1 of 2 scores"):
        image_auroc(np.array([0.0]), np.array([1.0, np.inf]))


def test_a_map_is_laid_between_the_centres_of_its_cells():
    """A coarse map's cells stand over the middle of the pixels they were made of, not over their corner."""
    map_ = np.zeros((1, 4, 6), np.float32)
    map_[0, 1, 2] = 1
    laid = resize_map(map_, (16, 24))
    assert (laid.shape, laid.dtype) == ((16, 24), np.float32)
    ys, xs = np.mgrid[:16, :24]
    assert (ys * laid).sum() / laid.sum() == pytest.approx(5.5)  # the middle of pixels 4..7
    assert (xs * laid).sum() / laid.sum() == pytest.approx(9.5)
    assert laid[5, 9] == pytest.approx((1 - 0.125) ** 2)
    np.testing.assert_array_equal(resize_map(map_, (4, 6)), map_[0])


def test_the_exact_interval_holds_its_level():
    """Of all counts that a rate gives, 95 % or more have an interval that contains the rate."""
    for of, rate in itertools.product((20, 57), (0.01, 0.1, 0.5)):
        inside = [low <= rate <= high for low, high in (clopper_pearson(k, of) for k in range(of + 1))]
        assert stats.binom.pmf(range(of + 1), of, rate)[inside].sum() >= 0.95


@pytest.mark.parametrize(
    ("count", "of", "interval"),
    [(0, 20, (0.0, 1 - 0.025 ** (1 / 20))), (20, 20, (0.025 ** (1 / 20), 1.0)), (5, 10, (0.1871, 0.8129))],
)
def test_the_exact_interval_of_known_counts(count: int, of: int, interval: tuple[float, float]):
    """None and all have closed forms; five of ten stands in every table."""
    assert clopper_pearson(count, of) == pytest.approx(interval, abs=5e-5)


def test_escape_and_overkill_are_counted_on_either_side_of_the_threshold():
    """A score at the threshold or over it is rejected; one under it passes."""
    escape, overkill = escape_and_overkill(np.array([1, 2, 3, 4.0]), np.array([3, 5, 6.0]), least_rejected(3))
    assert (escape.count, escape.of, overkill.count, overkill.of) == (1, 3, 1, 4)
    assert (escape.low, escape.high) == clopper_pearson(1, 3)
    assert overkill.rate == 0.25


def test_a_score_at_the_threshold_is_rejected():
    """Scores and threshold are compared as float32, as on a line."""
    good = np.array([0.1], np.float32)
    assert escape_and_overkill(good, good, float(good[0]))[1].count == 1


def test_regions_are_those_of_opencv():
    """The flood of these tests and the counted regions agree, so that the tests test what they say."""
    for seed in range(10):
        _, masks = blobs(seed)
        for mask in masks:
            assert (
                len(regions_of(mask)) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
            )


def test_pixels_that_are_not_judged_count_for_nothing():
    """Neither as good ones nor as defective ones; a defect of which nothing is left is none."""
    maps, masks = blobs(2)
    ignored = np.random.default_rng(0).random(masks.shape) < 0.3
    found = sweep_pixels(maps, masks, ignored)
    assert found.auroc == image_auroc(maps[~masks & ~ignored], maps[masks & ~ignored])
    assert found.true_positives[-1] == (masks & ~ignored).sum()
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = mask[4:, 4:] = True
    map_, hidden = mask.astype(np.float32), np.zeros((8, 8), bool)
    map_[0, 0], hidden[:2, :2] = -1, True
    assert sweep_pixels([map_], [mask]).aupro(0.3) == pytest.approx(0.5)
    assert sweep_pixels([map_], [mask], [hidden]).aupro(0.3) == pytest.approx(1.0)
    assert sweep_pixels([map_], [mask], [None]).aupro(0.3) == pytest.approx(0.5)
