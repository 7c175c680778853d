"""Pairs that are no boards are varied in colour, with their masks, and unnamed defects are painted on them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge.render.defects import KINDS
from trt_build.data.marks import boxes_of_mask
from trt_build.data.pairs import Pair
from trt_build.methods.comparator.augment import BLACK_AND_WHITE, PARTS, Augmentation, augment, augmentation_for
from trt_build.methods.comparator.pasted import LEAST_LEVELS, add_unnamed

#: Nothing changes but the place.
STILL = replace(
    PARTS, size_px=96, shift_px=0, turn_deg=0, clean=0, jpeg=0, noise=0, dark=(0, 0), bright=(255, 255)
)


def part(*, colour: bool = True, defect: bool = True) -> Pair:
    """A part `(128, 160)` with a soft pattern and a green or dark spot, which its mask shows."""
    rng = np.random.default_rng(3)
    shape = (128, 160, 3) if colour else (128, 160)
    master = cv2.GaussianBlur(rng.integers(60, 200, shape).astype(np.uint8), (0, 0), 3)
    board, mask = master.copy(), np.zeros((128, 160), np.uint8)
    if defect:
        board[50:70, 60:90] = (0, 255, 0) if colour else 0
        mask[50:70, 60:90] = 1
    boxes = np.array([[60, 50, 90, 70]] * defect, np.float32).reshape(-1, 4)
    return Pair(
        name="a", master=master, board=board, boxes=boxes, kinds=np.zeros(len(boxes), np.int64), mask=mask
    )


def test_the_mask_follows_the_board():
    """Whatever the crop, turn and scale, the mask lies on the spot, and so does the box."""
    how = replace(STILL, tint=0.0)
    seen = 0
    for seed in range(20):
        crop = augment(part(), how, np.random.default_rng(seed))
        assert crop.mask is not None
        assert crop.mask.shape == (96, 96)
        green = (crop.board[..., 1] > 200) & (crop.board[..., 0] < 40) & (crop.board[..., 2] < 40)
        inner = cv2.erode(crop.mask, np.ones((3, 3), np.uint8)).astype(bool)
        assert green[inner].mean() > 0.95 if inner.any() else True
        assert not green[cv2.dilate(crop.mask, np.ones((5, 5), np.uint8)) == 0].any()
        if crop.mask[1:-1, 1:-1].sum() == crop.mask.sum() > 0:
            (box,) = crop.boxes
            assert box == pytest.approx(np.array(boxes_of_mask(crop.mask > 0)[0]), abs=1.1)
            seen += 1
    assert seen > 5


def test_a_clean_board_has_a_black_mask():
    """The master in the place of the board shows none of the board's defects."""
    crop = augment(part(), replace(PARTS, clean=1.0), np.random.default_rng(0))
    assert crop.mask is not None
    assert not crop.mask.any()
    assert not len(crop.kinds)


def test_a_picture_keeps_its_colours():
    """Noise, light and compression change all three colours alike: no colour is lost and none becomes grey."""
    how = replace(PARTS, jpeg=1.0, noise=1.0, clean=0)
    for seed in range(10):
        crop = augment(part(defect=False), how, np.random.default_rng(seed))
        for picture in (crop.master, crop.board):
            assert picture.shape == (320, 320, 3)
            means = picture.reshape(-1, 3).mean(axis=0)
            assert means.max() / means.min() < 1.15
            assert (picture.reshape(-1, 3).std(axis=0) > 1).all()


@pytest.mark.parametrize("colour", [False, True])
def test_painted_defects_show_where_they_are_said_to_be(colour: bool):
    """The picture changes at the returned pixels and only about there."""
    board = part(colour=colour, defect=False).board
    before, seen = board.copy(), 0
    for seed in range(30):
        painted, changed = add_unnamed(board, np.random.default_rng(seed))
        assert (painted.shape, changed.shape) == (board.shape, board.shape[:2])
        levels = np.abs(painted.astype(int) - board).reshape(*changed.shape, -1).max(axis=2)
        assert not levels[cv2.dilate(changed.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0].any()
        if changed.any():
            seen += 1
            assert levels[changed].mean() >= LEAST_LEVELS / 2
    assert np.array_equal(board, before)
    assert seen > 12


def test_painted_defects_are_in_mask_and_boxes():
    """The network is taught what was painted."""
    crop = augment(part(defect=False), replace(STILL, paint=1.0), np.random.default_rng(4))
    assert crop.mask is not None
    assert crop.mask.max() == 1
    assert len(crop.boxes) == len(crop.kinds) > 0


def test_only_boards_are_varied_as_boards():
    """Other kinds are neither made black and white nor inverted; only one unnamed kind can be painted."""
    scan = np.where(np.arange(64)[:, None] // 8 % 2, np.uint8(255), np.uint8(0)).repeat(64, axis=1)
    pair = replace(part(), master=scan, board=scan)
    assert augmentation_for([pair], KINDS) == BLACK_AND_WHITE
    one, two = augmentation_for([pair], ("defect",)), augmentation_for([pair], ("dent", "stain"))
    for how in (one, two):
        assert (how.invert, how.grey, how.painted, how.size_px) == (0, 1, "unnamed", 64)
    assert (one.paint, two.paint) == (0.5, 0)
    assert augmentation_for([replace(pair, master=part().master)], KINDS) == Augmentation()
