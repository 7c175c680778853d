"""Paints defects of no particular kind on the picture of a part: scratches, stains, and pieces of other places.

Pieces that are cut out at one place and pasted at another are CutPaste (Li et al., arXiv 2104.04015).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Shape = npt.NDArray[np.bool_]

#: Sides of a defect's window, as shares of the picture's shorter side.
SIDES = (0.04, 0.4)
#: A defect that changes its pixels by less, in grey levels on average, is left out.
LEAST_LEVELS = 8.0


def add_unnamed(
    board: Picture, rng: np.random.Generator, *, tries: int = 3
) -> tuple[Picture, npt.NDArray[np.bool_]]:
    """Return a copy of the picture with up to `tries` defects, and `(H, W)` bool that is True at their pixels.

    The picture is `(H, W)` grey or `(H, W, 3)` BGR, uint8. Some defects are left out since they hardly show.
    """
    board = board.copy()
    height, width = board.shape[:2]
    changed = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(1, tries + 1))):
        share = float(np.exp(rng.uniform(*np.log(SIDES))))
        side = max(8, round(share * min(height, width)))
        if side >= min(height, width):
            continue
        top, left = _place(board, side, rng)
        window = np.s_[top : top + side, left : left + side]
        shape = _scratch(side, rng) if rng.random() < 0.4 else _blob(side, rng)
        painted = _painted(board, board[window], shape, rng)
        levels = np.abs(painted.astype(np.int16) - board[window]).reshape(side, side, -1).max(axis=2)
        if shape.sum() < 8 or levels[shape].mean() < LEAST_LEVELS:
            continue
        board[window] = painted
        changed[window] |= shape
    return board, changed


def _place(board: Picture, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return top and left of a window: of three at random places, the one where the picture varies most."""
    places = [
        (int(rng.integers(board.shape[0] - side + 1)), int(rng.integers(board.shape[1] - side + 1)))
        for _ in range(3)
    ]
    return max(places, key=lambda place: float(board[place[0] :, place[1] :][:side:4, :side:4].std()))


def _scratch(side: int, rng: np.random.Generator) -> Shape:
    """Return a random line of one to four pixels' width in a window as `(side, side)` bool."""
    canvas = np.zeros((side, side), np.uint8)
    points, direction = [rng.uniform(0.2, 0.8, 2) * side], rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 5))):
        direction += rng.normal(0, 0.5)
        points.append(
            points[-1] + rng.uniform(0.1, 0.4) * side * np.array([np.cos(direction), np.sin(direction)])
        )
    path = np.round(np.clip(points, 1, side - 2)).astype(np.int32)
    cv2.polylines(canvas, [path], False, 1, int(rng.integers(1, 5)))
    return canvas > 0


def _blob(side: int, rng: np.random.Generator) -> Shape:
    """Return a random piece with a smooth outline in a window as `(side, side)` bool."""
    coarse = int(rng.integers(3, 7))
    noise = cv2.resize(
        rng.normal(0, 1, (coarse, coarse)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )
    away = np.hypot(*np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side)))
    shape = np.asarray(noise + 2.0 * (0.6 - away) > 0)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(shape.astype(np.uint8), connectivity=4)
    if count < 2:
        return shape
    return np.asarray(pieces == 1 + stats[1:, cv2.CC_STAT_AREA].argmax())


def _painted(board: Picture, window: Picture, shape: Shape, rng: np.random.Generator) -> Picture:
    """Return a window of the board with the shape filled: by another place of the board, or by a colour."""
    side = len(shape)
    fill: npt.NDArray[Any]
    if rng.random() < 0.5:
        top, left = rng.integers(board.shape[0] - side + 1), rng.integers(board.shape[1] - side + 1)
        fill, most = board[top : top + side, left : left + side], 1.0
    else:
        colour = rng.uniform(0, 255) + rng.normal(0, 20, window.shape[2:])
        fill = np.broadcast_to(colour, window.shape) + rng.normal(0, rng.uniform(0, 12), window.shape)
        most = rng.uniform(0.3, 1.0)
    # A soft rim, as of a lens.
    alpha = most * cv2.GaussianBlur(shape.astype(np.float32), (0, 0), rng.uniform(0.4, 1.2))
    alpha = alpha.reshape(side, side, *(1,) * (window.ndim - 2))
    return np.clip(np.round(window * (1 - alpha) + fill * alpha), 0, 255).astype(np.uint8)
