"""On a picture of a judged part every label can be read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.demo.picture import COLOR
from edge.image.labels import FONT, Marked, draw_marked, ink_on, place_labels

SHAPE = (420, 420)
SIZE = (110, 19)  # of "mousebite 0.99"

Boxes = NDArray[np.int64]


def crowd(count: int, seed: int) -> Boxes:
    """Regions of 10 to 40 px that lie side by side in a corner of a picture, some at its very edge."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 200, (count, 2)) + rng.choice([0, 180], 2)
    sizes = rng.integers(10, 40, (count, 2))
    return np.hstack((corners, corners + sizes)).astype(np.int64)


def overlap(one: Boxes, other: Boxes) -> bool:
    return bool((one[:2] < other[2:]).all() and (other[:2] < one[2:]).all())


@pytest.mark.parametrize("seed", range(4))
def test_no_label_covers_another_or_runs_out_of_the_picture(seed: int) -> None:
    """However dense the regions lie: 40 in a quarter of the picture all have their label."""
    placed = [place for place in place_labels(crowd(40, seed), [SIZE] * 40, SHAPE) if place is not None]
    assert len(placed) == 40
    for at, place in enumerate(placed):
        assert place.min() >= 0
        assert place[2] <= SHAPE[1]
        assert place[3] <= SHAPE[0]
        assert (place[2:] - place[:2]).tolist() == list(SIZE)
        assert not any(overlap(place, other) for other in placed[at + 1 :])


@pytest.mark.parametrize(
    "region",
    [(200, 200, 230, 230), (0, 0, 30, 30), (390, 0, 419, 30), (0, 390, 30, 419), (390, 390, 419, 419)],
    ids=["middle", "top left", "top right", "bottom left", "bottom right"],
)
def test_a_label_lies_beside_its_region(region: tuple[int, int, int, int]) -> None:
    """It touches the region and covers nothing of it, also in a corner of the picture."""
    (place,) = place_labels(np.array([region]), [SIZE], SHAPE)
    assert place is not None
    assert not overlap(place, np.array(region))
    grown = np.array([region[0] - 1, region[1] - 1, region[2] + 2, region[3] + 2])
    assert overlap(place, grown)


def test_a_label_covers_another_region_only_where_it_has_no_other_place_near() -> None:
    """What is wrong with a part stays to be seen."""
    regions = np.array([(100, 100, 130, 130), (90, 60, 250, 99), (90, 131, 250, 170)])
    first = place_labels(regions, [SIZE] * 3, SHAPE)[0]
    assert first is not None
    assert not any(overlap(first, region) for region in regions)


def test_a_picture_that_is_full_leaves_labels_out() -> None:
    """Rather than write one over another."""
    placed = place_labels(crowd(9, 0) // 6, [SIZE] * 9, (60, 120))
    assert 1 <= sum(place is not None for place in placed) <= 3
    assert place_labels(crowd(1, 0), [SIZE], (420, 100)) == [None]


@pytest.mark.parametrize("ground", [0, 128, 255], ids=["dark", "grey", "bright"])
@pytest.mark.parametrize("verdict", COLOR)
def test_a_label_is_read_on_any_copper(verdict: str, ground: int) -> None:
    """Its text stands on a ground of its own, and is the same on every board."""
    shown = np.full((120, 200, 3), ground, np.uint8)
    marked = Marked(box=(40, 60, 80, 90), text="open 0.93", color=COLOR[verdict])
    draw_marked(shown, [marked])
    (w, h), below = cv2.getTextSize("open 0.93", FONT, 0.45, 1)
    (place,) = place_labels(np.array([marked.box]), [(w + 6, h + below + 6)], shown.shape[:2])
    assert place is not None
    label = shown[place[1] : place[3], place[0] : place[2]]
    grounds = (label == COLOR[verdict]).all(axis=2)
    inks = (np.abs(label.astype(int) - ink_on(COLOR[verdict])) < 80).all(axis=2)
    assert grounds.mean() > 0.5
    assert inks.sum() > 60
    assert not ((label == ground).all(axis=2) & ~inks).any()


@pytest.mark.parametrize("color", COLOR.values())
def test_text_and_its_ground_differ_in_brightness(color: tuple[int, int, int]) -> None:
    """By nearly half of the scale at the least, so that also who sees no colours reads it."""
    weights = (0.114, 0.587, 0.299)
    assert abs(np.dot(color, weights) - np.dot(ink_on(color), weights)) > 115


def test_a_label_that_lies_apart_is_joined_to_its_region() -> None:
    """One sees which region it is of."""
    shown = np.zeros((*SHAPE, 3), np.uint8)
    boxes = [(x, y, x + 14, y + 14) for x in range(100, 190, 15) for y in range(100, 190, 15)]
    draw_marked(shown, [Marked(box=box, text="mousebite 0.99", color=(0, 0, 255)) for box in boxes])
    (w, h), below = cv2.getTextSize("mousebite 0.99", FONT, 0.45, 1)
    labels = place_labels(np.array(boxes), [(w + 6, h + below + 6)] * len(boxes), SHAPE)
    shown[98:192, 98:192] = 0
    for label in labels:
        assert label is not None
        shown[label[1] : label[3], label[0] : label[2]] = 0
    assert (shown[..., 2] > 100).sum() > 30
