from __future__ import annotations

import numpy as np
import pytest

from edge.judges.regions import MOST, find_regions

KINDS = {"open": 0.5, "short": 0.5}


def maps(*defects: tuple[int, int, int, float], size: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A map with peaks `(kind, row, column, score)`, and extents of 10 pixels to each side."""
    map_ = np.zeros((2, size, size), np.float32)
    for kind, row, column, score in defects:
        map_[kind, row, column] = score
    return map_, np.full((4, size, size), 10, np.float32)


def test_a_peak_becomes_the_box_that_the_extents_tell():
    """A defect's box is measured from its cell's centre, in pixels of the picture."""
    map_, extents = maps((1, 7, 5, 0.9))
    extents[:, 7, 5] = 3, 4, 5, 6
    (region,) = find_regions(map_, extents, thresholds=KINDS, stride=4)
    assert (region.x, region.y, region.w, region.h) == pytest.approx((22 - 3, 30 - 4, 8, 10))
    assert (region.kind, region.area_px) == ("short", 80)
    assert region.score == pytest.approx(0.9)


def test_neighbours_stay_two_regions():
    """Two defects whose heat runs together are reported as two, not as one large one."""
    map_, extents = maps((0, 10, 10, 0.9), (0, 10, 14, 0.8))
    map_[0, 10, 11:14] = 0.6
    regions = find_regions(map_, extents, thresholds=KINDS, stride=4)
    assert [int(r.x + r.w / 2) // 4 for r in regions] == [10, 14]


@pytest.mark.parametrize(
    ("second_kind", "left"), [pytest.param(0, 1, id="one kind"), pytest.param(1, 1, id="two kinds")]
)
def test_a_defect_seen_twice_is_reported_once(second_kind: int, left: int):
    """Boxes that lie on one another are one defect, and the stronger says which kind it is."""
    map_, extents = maps((0, 10, 10, 0.9), (second_kind, 10, 11, 0.8))
    regions = find_regions(map_, extents, thresholds=KINDS, stride=4)
    assert [r.kind for r in regions] == ["open"] * left


def test_each_kind_has_its_own_threshold():
    """A threshold raised for one kind leaves the others as they were."""
    map_, extents = maps((0, 5, 5, 0.7), (1, 20, 20, 0.7))
    regions = find_regions(map_, extents, thresholds={"open": 0.8, "short": 0.6}, stride=4)
    assert [r.kind for r in regions] == ["short"]


def test_the_strongest_comes_first():
    """The list can be cut off anywhere without losing the worst defect."""
    map_, extents = maps((0, 5, 5, 0.6), (1, 20, 20, 0.9), (0, 30, 5, 0.7))
    scores = [r.score for r in find_regions(map_, extents, thresholds=KINDS, stride=4)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3


def test_boxes_end_at_the_picture():
    """A defect at the rim has no box outside of the picture."""
    map_, extents = maps((0, 0, 39, 0.9))
    (region,) = find_regions(map_, extents, thresholds=KINDS, stride=4)
    assert (region.x, region.y, region.w, region.h) == pytest.approx((148, 0, 12, 12))


def test_without_extents_a_patch_is_a_region():
    """A map that only says how wrong each cell is gives patches; cells that touch at a corner are one."""
    map_ = np.zeros((1, 20, 30), np.float32)
    map_[0, 2, 3], map_[0, 3, 4], map_[0, 10, 20] = 0.6, 0.9, 0.7
    regions = find_regions(map_, None, thresholds={"anomaly": 0.5}, stride=8)
    assert [(r.x, r.y, r.w, r.h, r.area_px) for r in regions] == [(24, 16, 16, 16, 128), (160, 80, 8, 8, 64)]
    assert [r.score for r in regions] == pytest.approx([0.9, 0.7])


def test_nothing_over_the_threshold_is_no_region():
    """A clean board has an empty list."""
    map_, extents = maps((0, 5, 5, 0.4))
    assert find_regions(map_, extents, thresholds=KINDS, stride=4) == []
    assert find_regions(map_, None, thresholds=KINDS, stride=4) == []


def test_maps_that_are_views_give_the_same_regions():
    """Maps read in place from shared memory, strided, give what their copies give."""
    map_, extents = maps((0, 5, 5, 0.9), (1, 20, 21, 0.8))
    apart = np.zeros((40, 40, 6), np.float32)
    apart[..., :2], apart[..., 2:] = map_.transpose(1, 2, 0), extents.transpose(1, 2, 0)
    views = apart.transpose(2, 0, 1)
    assert find_regions(views[:2], views[2:], thresholds=KINDS, stride=4) == find_regions(
        map_, extents, thresholds=KINDS, stride=4
    )


def test_a_map_of_another_shape_is_refused():
    """The error says what was expected and what came."""
    map_, extents = maps()
    with pytest.raises(ValueError, match=r"expected a map \(3, h, w\).*found \(2, 40, 40\)"):
        find_regions(map_, extents, thresholds={"a": 0.5, "b": 0.5, "c": 0.5}, stride=4)
    with pytest.raises(ValueError, match=r"expected extents \(4, 40, 40\), found \(4, 20, 40\)"):
        find_regions(map_, extents[:, :20], thresholds=KINDS, stride=4)


def test_a_picture_full_of_peaks_does_not_stall_the_line():
    """Of pure noise, the worst map there is, only the strongest peaks become regions."""
    map_ = np.random.default_rng(0).random((6, 160, 160), np.float32)
    extents = np.full((4, 160, 160), 1, np.float32)
    found = find_regions(map_, extents, thresholds=dict.fromkeys("abcdef", 0.3), stride=4)
    assert MOST - 10 < len(found) <= MOST
    assert min(region.score for region in found) > np.quantile(map_, 0.99)
