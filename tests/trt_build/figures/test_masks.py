"""Figures and thresholds of a comparator that was trained with masks follow from its maps alone."""

from __future__ import annotations

import numpy as np

from trt_build.data.pairs import Pair
from trt_build.figures.masks import EVEN_ODDS, choose_mask_thresholds, mask_figures
from trt_build.terminal.plain_names import plain_name

PICTURE = np.zeros((32, 32), np.uint8)


def pair(*kinds: int) -> Pair:
    """A board whose defects are of these kinds: a square of 8 pixels at the place of each kind."""
    mask = np.zeros((32, 32), np.uint8)
    for kind in kinds:
        mask[:8, 8 * kind : 8 * kind + 8] = 1 + kind
    boxes = np.array([(8 * kind, 0, 8 * kind + 8, 8) for kind in kinds], np.float32).reshape(-1, 4)
    return Pair(
        name="a", master=PICTURE, board=PICTURE, boxes=boxes, kinds=np.array(kinds, np.int64), mask=mask
    )


def map_of(*values: float, at: int = 0) -> np.ndarray:
    """A map of a kind for each value, in cells of 4 pixels: the value in a 2x2 square, `at` columns aside."""
    map_ = np.full((len(values), 8, 8), 0.05, np.float32)
    for kind, value in enumerate(values):
        map_[kind, :2, 2 * kind + at : 2 * kind + at + 2] = value
    return map_


def test_a_map_that_covers_the_defects_has_full_figures():
    """Each kind is compared with its own map."""
    pairs = [pair(0), pair(1), pair()]
    maps = [map_of(0.9, 0.05), map_of(0.05, 0.9), map_of(0.2, 0.2)]
    found = mask_figures(pairs, maps, {"dent": 0.5, "stain": 0.5})
    assert found["pixel_ap"] > 0.9
    assert found["pixel_auroc"] > 0.99
    assert (found["image_auroc"], found["escape"], found["overkill"]) == (1, 0, 0)
    swapped = mask_figures(pairs, [map_[::-1] for map_ in maps], {"dent": 0.5, "stain": 0.5})
    assert swapped["pixel_ap"] < 0.3


def test_a_board_is_rejected_by_the_threshold_of_any_kind():
    """Escapes and overkill count whole boards, each value against its own kind's threshold."""
    pairs = [pair(0), pair(1), pair(), pair()]
    maps = [map_of(0.4, 0.1), map_of(0.1, 0.4), map_of(0.1, 0.2), map_of(0.35, 0.1)]
    found = mask_figures(pairs, maps, {"dent": 0.3, "stain": 0.5})
    assert (found["escape"], found["overkill"]) == (0.5, 0.5)


def test_without_good_boards_or_defects_there_are_only_the_figures_that_have_a_meaning():
    """A set of good boards alone has no AUROC."""
    assert mask_figures([pair()], [map_of(0.1)], {"dent": 0.5}) == {}
    assert set(mask_figures([pair(0)], [map_of(0.9)], {"dent": 0.5})) == {
        "pixel_auroc",
        "pixel_ap",
        "aupro30",
        "aupro05",
    }


def test_a_threshold_tells_boards_apart_and_covers_the_defect():
    """Of all values that tell the boards apart, the one whose region is most like the mask is chosen."""
    fuzzy = map_of(0.9)
    fuzzy[0, :2, 2:5] = 0.55  # a rim that is not part of the defect
    pairs, maps = [pair(0), pair()], [fuzzy, map_of(0.3)]
    assert 0.55 < choose_mask_thresholds(pairs, maps, ("dent",))["dent"] <= 0.9
    fuzzy[0, :2, 1] = 0.6  # half of the defect is weaker
    assert 0.55 < choose_mask_thresholds(pairs, maps, ("dent",))["dent"] <= 0.6


def test_a_good_board_counts_more_than_the_outline_of_a_defect():
    """The threshold lies above what good boards show, even if the region is then too small."""
    weak = map_of(0.9)
    weak[0, :2, 1] = 0.2
    assert choose_mask_thresholds([pair(0), pair()], [weak, map_of(0.7)], ("dent",))["dent"] > 0.7


def test_a_kind_that_no_board_shows_keeps_even_odds():
    """Nothing was measured for it."""
    found = choose_mask_thresholds([pair(0), pair()], [map_of(0.9, 0.1), map_of(0.1, 0.1)], ("dent", "stain"))
    assert found["stain"] == EVEN_ODDS


def test_each_figure_of_masks_has_a_plain_name():
    """Whoever reads the figures need not know what they are called in programs."""
    for name in mask_figures([pair(0), pair()], [map_of(0.9), map_of(0.1)], {"dent": 0.5}):
        assert len(plain_name(name).split()) > 4
