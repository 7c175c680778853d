"""Finds the defective regions in the map of a model, and in the model's extents if it has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ..messages import Region

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.intp]
Boxes = npt.NDArray[np.float64]

#: Two boxes of one kind with a larger IoU are one defect.
SAME_KIND = 0.3
#: Two boxes of different kinds with a larger IoU are one defect, of the kind with the higher score.
ANY_KIND = 0.5
#: How many of the strongest peaks are used; if there are more, the picture is wrong and not the part.
MOST = 200
#: How many of the strongest cells over their threshold are searched for peaks.
MOST_CELLS = 4000


class Cells(NamedTuple):
    """The cells of a region, as the label that they have in an array for the whole map."""

    labels: npt.NDArray[np.integer]  # (h, w)
    label: int

    def of_region(self) -> npt.NDArray[np.bool_]:
        """Return `(h, w)` bool, True at the cells of the region."""
        return np.asarray(self.labels == self.label)


def find_regions(
    map_: FloatArray, extents: FloatArray | None, *, thresholds: Mapping[str, float], stride: int
) -> list[Region]:
    """Return the defective regions in input pixels, strongest first. Equal maps always give equal lists.

    `map_` `(K, h, w)` float32 has a score for each kind and cell. `thresholds` has the lowest score of a defect
    for each of the K kinds, in the map's order. A cell covers `stride` pixels along each axis.

    `extents` `(4, h, w)` float32 are the distances in pixels from a cell's centre to the left, top, right and
    bottom side of the defect at that cell. With extents, each local peak that reaches its threshold becomes
    a region, unless that overlaps a stronger region too much. Without extents, each 8-connected patch of cells
    that reach their threshold becomes a region. Raise ValueError if the shapes do not fit.
    """
    return [region for region, _ in find_cells(map_, extents, thresholds=thresholds, stride=stride)]


def find_cells(
    map_: FloatArray, extents: FloatArray | None, *, thresholds: Mapping[str, float], stride: int
) -> list[tuple[Region, Cells]]:
    """Return the same regions as `find_regions`, each with the cells of the map that belong to it.

    They are the cells of its patch or, with extents, all cells that reach the threshold of its kind.
    """
    if map_.ndim != 3 or len(map_) != len(thresholds):
        raise ValueError(f"expected a map ({len(thresholds)}, h, w) for {list(thresholds)}, found {map_.shape}")
    if extents is None:
        return _patches(map_, thresholds, stride)
    if extents.shape != (4, *map_.shape[1:]):
        raise ValueError(f"expected extents {(4, *map_.shape[1:])}, found {extents.shape}")
    return _peaks(map_, extents, thresholds, stride)


def _peaks(
    map_: FloatArray, extents: FloatArray, thresholds: Mapping[str, float], stride: int
) -> list[tuple[Region, Cells]]:
    """Return a region for each local peak of `map_`, strongest first. The extents give the region's box."""
    kinds, rows, columns = _local_peaks(map_, thresholds)
    if not len(kinds):
        return []
    scores = map_[kinds, rows, columns]
    order = np.lexsort((columns, rows, kinds, -scores))[:MOST]
    kinds, rows, columns, scores = kinds[order], rows[order], columns[order], scores[order]
    boxes = _boxes(map_, extents, kinds, rows, columns, stride)
    names, limits = list(thresholds), np.fromiter(thresholds.values(), np.float32)
    over = {int(kind): map_[kind] >= limits[kind] for kind in np.unique(kinds)}
    return [
        (
            _region(boxes[i], float(scores[i]), names[kinds[i]]),
            Cells(over[int(kinds[i])].view(np.uint8), 1),
        )
        for i in _distinct(boxes, kinds)
    ]


def _local_peaks(map_: FloatArray, thresholds: Mapping[str, float]) -> tuple[IntArray, IntArray, IntArray]:
    """Return the P peaks of a map `(K, h, w)`: their kinds, rows and columns, each as `(P,)`.

    A peak reaches its kind's threshold, and none of its eight neighbours is higher.
    """
    limits = np.fromiter(thresholds.values(), np.float32)
    cells = np.flatnonzero(map_ >= limits[:, None, None])
    if len(cells) > MOST_CELLS:
        cells = cells[np.argpartition(map_.ravel()[cells], -MOST_CELLS)[-MOST_CELLS:]]
    kinds, rows, columns = np.unravel_index(cells, map_.shape)
    near_rows, near_columns = _neighbours(rows, columns, map_.shape[1:])
    highest = map_[kinds[:, None, None], near_rows, near_columns].max(axis=(1, 2))
    peaks = map_[kinds, rows, columns] == highest
    return kinds[peaks], rows[peaks], columns[peaks]


def _neighbours(rows: IntArray, columns: IntArray, size: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """Return rows `(P, 3, 1)` and columns `(P, 1, 3)` of the 3x3 cells around each of P cells in the map."""
    around = np.arange(-1, 2)
    near_rows = np.clip(rows[:, None] + around, 0, size[0] - 1)
    near_columns = np.clip(columns[:, None] + around, 0, size[1] - 1)
    return near_rows[:, :, None], near_columns[:, None, :]


def _boxes(
    map_: FloatArray, extents: FloatArray, kinds: IntArray, rows: IntArray, columns: IntArray, stride: int
) -> Boxes:
    """Return the boxes of P peaks as `(P, 4)` float64: left, top, right and bottom in input pixels.

    A box is the mean of the boxes of the 3x3 cells around the peak, weighted by their scores.
    """
    height, width = map_.shape[1:]
    near_rows, near_columns = _neighbours(rows, columns, map_.shape[1:])
    # A cell that is ignored is at minus infinity.
    weight = map_[kinds[:, None, None], near_rows, near_columns].astype(np.float64).clip(min=0)
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    x, y = (near_columns + 0.5) * stride, (near_rows + 0.5) * stride
    left, top, right, bottom = extents[:, near_rows, near_columns]
    sides = np.stack((x - left, y - top, x + right, y + bottom), axis=-1)
    boxes: Boxes = (sides * weight[..., None]).sum(axis=(1, 2))
    return np.clip(boxes, 0, np.array([width, height, width, height]) * stride)


def _distinct(boxes: Boxes, kinds: IntArray) -> list[int]:
    """Return the indices of the boxes that remain when each box removes weaker boxes that overlap it too much.

    `boxes` `(P, 4)` float64 and their `kinds` `(P,)` are sorted, strongest first.
    """
    sides = np.minimum(boxes[:, None, 2:], boxes[:, 2:]) - np.maximum(boxes[:, None, :2], boxes[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=2)
    areas = np.diagonal(shared)
    iou = shared / np.maximum(areas[:, None] + areas - shared, 1e-9)
    same = iou > np.where(kinds[:, None] == kinds, SAME_KIND, ANY_KIND)
    removed = np.zeros(len(boxes), bool)
    for i in range(len(boxes)):
        if not removed[i]:
            removed[i + 1 :] |= same[i, i + 1 :]
    return [int(i) for i in np.flatnonzero(~removed)]


def _patches(map_: FloatArray, thresholds: Mapping[str, float], stride: int) -> list[tuple[Region, Cells]]:
    """Return a region for each 8-connected patch of cells that reach their threshold, strongest first."""
    found = []
    for (kind, threshold), scores in zip(thresholds.items(), map_, strict=True):
        over = (scores >= threshold).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(over, connectivity=8)
        for label in range(1, count):
            x, y, w, h, cells = (int(value) for value in stats[label])
            patch = labels[y : y + h, x : x + w] == label
            score = float(scores[y : y + h, x : x + w][patch].max())
            region = Region(
                x=float(x * stride),
                y=float(y * stride),
                w=float(w * stride),
                h=float(h * stride),
                area_px=cells * stride * stride,
                score=score,
                kind=kind,
            )
            found.append((region, Cells(labels, label)))
    return sorted(found, key=lambda one: (-one[0].score, one[0].kind, one[0].y, one[0].x))


def _region(box: Boxes, score: float, kind: str) -> Region:
    """Convert a box `(4,)` to a region. The box has left, top, right and bottom in input pixels."""
    x, y, right, bottom = (float(value) for value in box)
    area = round((right - x) * (bottom - y))
    return Region(x=x, y=y, w=right - x, h=bottom - y, area_px=area, score=score, kind=kind)
