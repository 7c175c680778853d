"""Codes which places in a region's box are defective as run lengths, small enough for a verdict."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..messages import Mask, Region

#: Runs in a mask at most; a mask with more is made coarser.
MOST_RUNS = 400


def mask_in_frame(
    cells: NDArray[np.bool_],
    box: Region,
    to_frame: tuple[float, float, float, float, float, float],
    stride: int,
) -> Mask:
    """Return the mask of a region: the cells of the map that lie in its box, as a grid over the box.

    `cells` `(h, w)` is True at the defective cells of the map; a cell covers `stride` input pixels along each
    axis. `box` is in frame pixels. `to_frame` is the 2x3 matrix, row by row, that converts input pixels to
    frame pixels. The grid is as fine as the map. Where the part lies turned in the frame, each place of the
    grid is that of the cell at its centre. A mask with more than MOST_RUNS runs gets a grid of half as many
    rows and columns, until it has fewer.
    """
    a, b, c, d, e, f = to_frame
    columns = max(1, round(box.w / (stride * (abs(a) + abs(b)))))
    rows = max(1, round(box.h / (stride * (abs(d) + abs(e)))))
    to_cell = np.linalg.inv(np.array([[a, b, c], [d, e, f], [0, 0, 1]])) / stride
    while True:
        x = box.x + (np.arange(columns) + 0.5) * box.w / columns
        y = box.y + (np.arange(rows) + 0.5)[:, None] * box.h / rows
        column, row = (np.floor(axis[0] * x + axis[1] * y + axis[2]).astype(np.intp) for axis in to_cell[:2])
        height, width = cells.shape
        counts = run_lengths(cells[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)])
        if len(counts) <= MOST_RUNS:
            return Mask(size=(rows, columns), counts=counts)
        rows, columns = -(-rows // 2), -(-columns // 2)


def run_lengths(grid: NDArray[np.bool_]) -> list[int]:
    """Return the lengths of the runs of False and True in turn, column by column, beginning with False.

    `grid` is `(h, w)`. This is the uncompressed run-length code of COCO's masks.
    """
    flat = grid.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate(([0], ends, [len(flat)]))).tolist()
    return [0, *lengths] if flat[0] else list(lengths)
