"""Cuts a large picture into overlapping tiles, each a model's input, and joins the tiles' outputs again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Outputs = dict[str, NDArray[np.float32]]

#: Neighbouring tiles share this part of a tile's side: one in so many, or a little more.
SHARE = 8
#: The overlap is a multiple of this number of pixels, so that the cells of all tiles' maps lie in one grid.
STEP = 16
#: Tiles of a picture at most.
MOST_TILES = 64


@dataclass(frozen=True)
class Grid:
    """Tiles of one size, `height` and `width` in pixels, in `columns` and `rows`. They cover a whole picture.

    Neighbouring tiles overlap by at least an eighth of a tile. So each defect that is smaller than this lies in
    at least one tile as a whole.
    """

    columns: int
    rows: int
    height: int
    width: int

    @property
    def count(self) -> int:
        """The number of tiles."""
        return self.columns * self.rows

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of the whole picture in pixels."""
        down, across = self._steps
        return (self.rows - 1) * down + self.height, (self.columns - 1) * across + self.width

    @property
    def places(self) -> list[tuple[int, int]]:
        """The top and left of each tile in pixels of the whole picture, row by row."""
        down, across = self._steps
        return [(row * down, column * across) for row in range(self.rows) for column in range(self.columns)]

    def fits(self, stride: int) -> bool:
        """Return whether the cells of the tiles' maps lie in one grid. A cell covers `stride` pixels."""
        return all(top % stride == left % stride == 0 for top, left in self.places)

    def whole(self, shape: Sequence[int], stride: int) -> tuple[int, ...]:
        """Return the shape of a joined output, of which one tile has `shape`, `(1,)` or `(1, K, h, w)`."""
        if len(shape) != 4:
            return tuple(shape)
        height, width = self.size
        return (*shape[:2], height // stride, width // stride)

    def cut(self, picture: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the tiles of a picture `(1, C, H, W)`, each `(1, C, height, width)` and contiguous."""
        if self.count == 1:
            return [picture]
        return [
            np.ascontiguousarray(picture[..., top : top + self.height, left : left + self.width])
            for top, left in self.places
        ]

    def join(self, tiles: Sequence[Mapping[str, NDArray[np.float32]]], stride: int) -> Outputs:
        """Join the outputs for all tiles, float32, to those for the whole picture.

        The score `(1,)` is the highest of any tile, NaN if any is NaN. Where tiles overlap, a cell of the map
        `(1, K, h, w)` has the highest value of any tile, and the extents `(1, 4, h, w)` are those of the tile
        with the highest value of any kind. The order of the outputs stays.
        """
        if self.count == 1:
            return dict(tiles[0])
        # In the order of the tiles' outputs, in which they lie in a slot.
        joined = {
            name: np.max([tile["score"] for tile in tiles], axis=0)
            if name == "score"
            else np.full(self.whole(output.shape, stride), -np.inf, np.float32)
            for name, output in tiles[0].items()
        }
        for (top, left), tile in zip(self.places, tiles, strict=True):
            if "map" not in tile:
                continue
            height, width = tile["map"].shape[2:]
            place = np.s_[..., top // stride : top // stride + height, left // stride : left // stride + width]
            known = joined["map"][place]
            if "extents" in joined:
                higher = tile["map"].max(axis=1, keepdims=True) >= known.max(axis=1, keepdims=True)
                np.copyto(joined["extents"][place], tile["extents"], where=higher)
            np.maximum(known, tile["map"], out=known)
        return joined

    @property
    def _steps(self) -> tuple[int, int]:
        """The pixels from a tile to the next one, down and across."""
        down, across = (side - -(-side // (SHARE * STEP)) * STEP for side in (self.height, self.width))
        return down, across
