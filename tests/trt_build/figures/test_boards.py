"""The pictures of what a comparator got wrong can be read, and its figures have plain names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.image.labels import FONT, place_labels
from edge.render.defects import KINDS
from trt_build.data.pairs import Pair
from trt_build.figures.boards import GREEN, RED, TITLE_PX, draw_worst, figures
from trt_build.figures.boxes import Boxes
from trt_build.terminal.plain_names import plain_name

SIZE = 320


@pytest.fixture
def board() -> tuple[Pair, Boxes]:
    """A board with nine defects close together, each found a little aside and as another kind."""
    boxes = np.array([(x, y, x + 24, y + 24) for x in (100, 130, 160) for y in (100, 130, 160)], np.float32)
    kinds = np.arange(9, dtype=np.int64) % len(KINDS)
    ground = np.full((SIZE, SIZE), 128, np.uint8)
    pair = Pair(name="dense", master=ground, board=ground, boxes=boxes, kinds=kinds)
    return pair, Boxes(boxes=boxes + 3.0, kinds=(kinds + 1) % len(KINDS), scores=np.linspace(0.9, 0.6, 9))


def test_true_and_found_defects_have_labels_that_do_not_cover_each_other(
    board: tuple[Pair, Boxes], tmp_path: Path
):
    """All eighteen labels of a dense spot are there, whole, each on a ground of its colour."""
    pair, found = board
    (path,) = draw_worst([pair], [found], KINDS, tmp_path, cut=0.5)
    assert path.name == "dense_escaped9_overkill9.png"
    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.shape == (TITLE_PX + SIZE, 2 * SIZE, 3)
    shown = picture[TITLE_PX:, SIZE:]
    texts = [KINDS[kind] for kind in pair.kinds]
    texts += [f"{KINDS[kind]} {score:.2f}" for kind, score in zip(found.kinds, found.scores, strict=True)]
    sizes = [(w + 6, h + below + 6) for (w, h), below in (cv2.getTextSize(t, FONT, 0.4, 1) for t in texts)]
    regions = np.vstack((pair.boxes, found.boxes)).astype(np.int64)
    for number, place in enumerate(place_labels(regions, sizes, (SIZE, SIZE))):
        assert place is not None
        label = shown[place[1] : place[3], place[0] : place[2]]
        assert (label == (GREEN if number < 9 else RED)).all(axis=2).mean() > 0.4


def test_the_title_of_a_small_board_is_shown_whole(board: tuple[Pair, Boxes], tmp_path: Path):
    """A narrow picture is made wider for it: the last word ends before the border."""
    pair, found = board
    small = replace(pair, master=pair.master[:64, :64], board=pair.board[:64, :64], boxes=pair.boxes / 4)
    (path,) = draw_worst([small], [found], KINDS, tmp_path, cut=0.5)
    title = cv2.imread(str(path))[:TITLE_PX]
    inked = np.flatnonzero((title < 200).any(axis=(0, 2)))
    assert 64 < inked[-1] < title.shape[1] - 3


def test_each_figure_of_boxes_has_a_plain_name(board: tuple[Pair, Boxes]):
    """Whoever reads the figures need not know what they are called in programs."""
    pair, found = board
    for name in figures([pair], [found], KINDS, cut=0.5):
        assert len(plain_name(name).split()) > 4
