"""The rendered training set is in the layout that training reads, and its boxes hold what is wrong."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from masters import master_pictures

from edge.recipe import Synthetic
from trt_build.data.pairs import read_pairs
from trt_build.data.rendered import write_pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    write_pairs(folder, 10, 256, seed=1)
    return folder


def test_training_reads_what_was_written(folder: Path) -> None:
    """Ten boards, one of them good, with several kinds of defect."""
    pairs = read_pairs(folder)
    assert len(pairs) == 10
    assert sum(not len(pair.boxes) for pair in pairs) == 1
    assert len({int(kind) for pair in pairs for kind in pair.kinds}) >= 4


def test_boards_differ_from_their_masters_in_the_boxes_only(folder: Path) -> None:
    """Each box holds a defect, and none lies outside, although the boards were shifted and turned."""
    for pair in read_pairs(folder):
        light = [cv2.GaussianBlur(picture.astype(float), (0, 0), 20) for picture in (pair.board, pair.master)]
        there = np.abs(pair.board - pair.master * light[0] / light[1]) > 40
        seen = cv2.morphologyEx(there.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        for x1, y1, x2, y2 in pair.boxes.astype(int):
            box = seen[y1:y2, x1:x2]
            assert box.sum() >= 9
            box[:] = 0
        assert seen.sum() == 0


def test_another_seed_writes_other_boards(folder: Path, tmp_path: Path) -> None:
    """What is held out for evaluation has not been trained on; the same seed writes the same files."""
    write_pairs(tmp_path / "same", 2, 256, seed=1)
    write_pairs(tmp_path / "other", 2, 256, seed=2)
    first, same, other = (read_pairs(path)[0] for path in (folder, tmp_path / "same", tmp_path / "other"))
    assert np.array_equal(first.board, same.board)
    assert not np.array_equal(first.master, other.master)


def test_no_board_of_the_line_is_in_the_training_set(tmp_path: Path) -> None:
    """The demonstration judges designs that no model has been trained on."""
    write_pairs(tmp_path, 10, 96, seed=0)
    shown = master_pictures(Synthetic(width=96, height=96, views=10)).values()
    assert not any(np.array_equal(pair.master, board) for pair in read_pairs(tmp_path) for board in shown)
