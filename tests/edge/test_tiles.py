"""A picture that is cut into tiles and joined again is the same, and nothing at a seam is lost or doubled."""

from __future__ import annotations

import numpy as np
import pytest

from edge.image.warp import Warper
from edge.manifest import InputSpec
from edge.tiles import Grid

GRIDS = [Grid(1, 1, 64, 64), Grid(3, 2, 64, 64), Grid(2, 4, 96, 160), Grid(4, 1, 256, 256)]


@pytest.mark.parametrize("grid", GRIDS)
def test_tiles_cover_the_picture_and_overlap(grid: Grid) -> None:
    """Each pixel lies in a tile; a defect up to an eighth of a tile lies in one as a whole, wherever it is."""
    seen = np.zeros(grid.size, int)
    for top, left in grid.places:
        seen[top : top + grid.height, left : left + grid.width] += 1
    assert seen.min() == 1
    assert seen.max() == (2 if grid.columns > 1 else 1) * (2 if grid.rows > 1 else 1)
    size = min(grid.height, grid.width) // 8
    for y in range(0, grid.size[0] - size + 1, 3):
        for x in range(0, grid.size[1] - size + 1, 3):
            assert any(
                top <= y and y + size <= top + grid.height and left <= x and x + size <= left + grid.width
                for top, left in grid.places
            )


@pytest.mark.parametrize("grid", GRIDS)
def test_what_is_cut_is_joined_to_the_same(grid: Grid) -> None:
    """Cells of each tile come back to their place; the score is the highest of any tile."""
    rng, stride = np.random.default_rng(0), 4
    picture = rng.integers(0, 256, (1, 3, *grid.size), np.uint8)
    cells = (grid.size[0] // stride, grid.size[1] // stride)
    whole = {"map": rng.random((1, 2, *cells), np.float32), "extents": rng.random((1, 4, *cells), np.float32)}
    tiles, shown = [], grid.cut(picture)
    for (top, left), image in zip(grid.places, shown, strict=True):
        assert image.flags.c_contiguous
        assert np.array_equal(image, picture[..., top : top + grid.height, left : left + grid.width])
        place = np.s_[
            ...,
            top // stride : (top + grid.height) // stride,
            left // stride : (left + grid.width) // stride,
        ]
        tile = {name: output[place] for name, output in whole.items()}
        tiles.append(tile | {"score": np.array([len(tiles)], np.float32)})
    joined = grid.join(tiles, stride)
    assert list(joined) == list(tiles[0])  # the order in which they lie in a slot
    assert joined["score"].tolist() == [grid.count - 1]
    for name, output in whole.items():
        assert np.array_equal(joined[name], output)
        assert joined[name].shape == grid.whole(tiles[0][name].shape, stride)
    assert grid.whole((1,), stride) == (1,)


def test_where_tiles_overlap_the_higher_value_counts() -> None:
    """With the extents of the tile that has it."""
    grid = Grid(2, 1, 32, 32)
    maps = [np.full((1, 2, 8, 8), 0.2, np.float32), np.full((1, 2, 8, 8), 0.1, np.float32)]
    maps[1][0, 1, 3, 1] = 0.9  # in the overlap, the first four columns of the second tile
    extents = [np.full((1, 4, 8, 8), 1, np.float32), np.full((1, 4, 8, 8), 2, np.float32)]
    joined = grid.join([{"map": m, "extents": e} for m, e in zip(maps, extents, strict=True)], 4)
    assert joined["map"].shape == (1, 2, 8, 12)
    assert joined["map"][0, 1, 3].tolist() == pytest.approx([0.2] * 5 + [0.9] + [0.2] * 2 + [0.1] * 4)
    assert joined["extents"][0, 0, 3].tolist() == [1] * 5 + [2] + [1] * 2 + [2] * 4
    assert joined["extents"][0, 0, 4].tolist() == [1] * 8 + [2] * 4


def test_a_tile_that_is_not_a_number_makes_the_whole_none() -> None:
    """Or a tile of which an engine lost the outputs would let its defects pass."""
    grid = Grid(2, 1, 32, 32)
    for broken in range(2):
        tiles = [
            {"score": np.zeros(1, np.float32), "map": np.zeros((1, 1, 8, 8), np.float32)} for _ in range(2)
        ]
        tiles[broken]["score"][:] = tiles[broken]["map"][0, 0, 2, 0] = np.nan
        joined = grid.join(tiles, 4)
        assert np.isnan(joined["score"]).all()
        assert np.isnan(joined["map"]).sum() == 1


@pytest.mark.parametrize("angle", [0.0, 0.02])
@pytest.mark.parametrize("scale", [1.0, 2.3])
def test_a_window_of_a_warp_is_that_part_of_its_input(angle: float, scale: float) -> None:
    """So an engine that warps frames makes each tile as the CPU cuts it, also what is ignored in it."""
    rng, grid = np.random.default_rng(0), Grid(3, 2, 64, 64)
    spec = InputSpec(height=grid.size[0], width=grid.size[1])
    frame = rng.integers(0, 256, tuple(int(side * scale) for side in grid.size), np.uint8)
    pose = np.array([[np.cos(angle), -np.sin(angle), 3.0], [np.sin(angle), np.cos(angle), -2.0]])
    ignored, whole = rng.random(grid.size) < 0.1, np.empty(spec.shape, np.uint8)
    warp = Warper(None, spec, ignored=ignored).warp(frame.shape, pose)
    under = rng.integers(0, 256, spec.shape, np.uint8)
    warp.apply(frame, whole, under)
    a, b, x, c, d, y = warp.to_frame
    for (top, left), tile, behind in zip(grid.places, grid.cut(whole), grid.cut(under), strict=True):
        window, out = warp.window(top, left, grid.height, grid.width), np.empty((1, 1, 64, 64), np.uint8)
        window.apply(frame, out, behind)
        assert np.abs(out.astype(int) - tile).max() <= 1
        corner = (a * left + b * top + x, c * left + d * top + y)
        assert window.to_frame[2::3] == pytest.approx(corner)
