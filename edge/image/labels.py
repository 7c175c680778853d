"""Draws boxes with labels into a picture. The labels do not overlap, and stay inside the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.int64]  # (N, 4) left, top, right, bottom in pixels
Color = tuple[int, int, int]  # BGR

FONT, PADDING = cv2.FONT_HERSHEY_SIMPLEX, 3
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
#: Pixels between the places that are tried for a label.
STEP_X, STEP_Y = 8, 4


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A region to draw into a picture: its box, the text of its label, and its colour."""

    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels
    text: str
    color: Color
    line_px: int = 2


def draw_marked(picture: NDArray[np.uint8], marked: Sequence[Marked], *, size: float = 0.45) -> None:
    """Draw the boxes and labels of regions into `picture`, `(H, W, 3)` BGR uint8. `size` is the font's scale.

    If a label does not fit beside its region, a line joins the two. A label that fits nowhere is left out.
    """
    texts = [cv2.getTextSize(one.text, FONT, size, 1) for one in marked]
    sizes = [(w + 2 * PADDING, h + below + 2 * PADDING) for (w, h), below in texts]
    regions = np.array([one.box for one in marked], np.int64).reshape(-1, 4)
    for one in marked:
        cv2.rectangle(picture, one.box[:2], one.box[2:], one.color, one.line_px)
    places = place_labels(regions, sizes, (picture.shape[0], picture.shape[1]))
    for one, place, (_, below) in zip(marked, places, texts, strict=True):
        if place is None:
            continue
        left, top, right, bottom = (int(side) for side in place)
        if _gaps(place[None], np.array(one.box))[0] > 0:
            centre = ((one.box[0] + one.box[2]) // 2, (one.box[1] + one.box[3]) // 2)
            cv2.line(picture, ((left + right) // 2, (top + bottom) // 2), centre, one.color, 1, cv2.LINE_AA)
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), one.color, cv2.FILLED)
        base = (left + PADDING, bottom - PADDING - below)
        cv2.putText(picture, one.text, base, FONT, size, ink_on(one.color), 1, cv2.LINE_AA)


def ink_on(color: Color) -> Color:
    """Return the colour of a text on a background: black or white, whichever is easier to read."""
    return BLACK if np.dot(color, (0.114, 0.587, 0.299)) > 128 else WHITE


def place_labels(
    regions: Boxes, sizes: Sequence[tuple[int, int]], shape: tuple[int, int]
) -> list[Boxes | None]:
    """Return for each region the box of its label as `(4,)` int64, or None if there is no room for it.

    `sizes` are (width, height) of the labels, `shape` is (height, width) of the picture. The labels' boxes lie
    inside the picture and do not overlap. Each is near its region and hides few pixels of any region.
    """
    placed: list[Boxes | None] = []
    taken = np.empty((0, 4), np.int64)
    for region, size in zip(regions, sizes, strict=True):
        spots = _spots(region, size, shape)
        spots = spots[_covered(spots, taken) == 0]
        if not len(spots):
            placed.append(None)
            continue
        cost = _gaps(spots, region) + _covered(spots, regions) / size[1]
        best = spots[int(cost.argmin())]
        placed.append(best)
        taken = np.vstack((taken, best))
    return placed


def _spots(region: Boxes, size: tuple[int, int], shape: tuple[int, int]) -> Boxes:
    """Return boxes to try for a label as `(N, 4)` int64: six around its region, others all over the picture."""
    (width, height), (left, top, right, bottom) = size, region
    # The farthest upper left corner of a box that lies inside.
    last = np.array([shape[1] - width, shape[0] - height])
    if last.min() < 0:
        return np.empty((0, 4), np.int64)
    around = [(left, top - height), (left, bottom + 1), (right + 1 - width, top - height)]
    around += [(right + 1 - width, bottom + 1), (right + 1, top), (left - width, top)]
    rows, columns = np.mgrid[0 : last[1] + 1 : STEP_Y, 0 : last[0] + 1 : STEP_X]
    anywhere = np.stack((columns.ravel(), rows.ravel()), axis=1)
    corners = np.vstack((np.clip(around, 0, last), anywhere))
    return np.hstack((corners, corners + size)).astype(np.int64)


def _covered(spots: Boxes, boxes: Boxes) -> NDArray[np.int64]:
    """Return for each of `spots` how many pixels of all `boxes` together it covers, as `(N,)` int64."""
    low = np.maximum(spots[:, None, :2], boxes[None, :, :2])
    high = np.minimum(spots[:, None, 2:], boxes[None, :, 2:])
    covered: NDArray[np.int64] = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    return covered


def _gaps(spots: Boxes, region: Boxes) -> NDArray[np.int64]:
    """Return how far each of `spots` is from a region, as `(N,)` int64. Pixels along x and y are added."""
    apart = np.maximum(spots[:, :2] - region[2:] - 1, region[:2] - spots[:, 2:])
    gaps: NDArray[np.int64] = np.clip(apart, 0, None).sum(axis=1)
    return gaps
