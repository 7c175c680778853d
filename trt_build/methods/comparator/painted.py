"""Paints more defects on the picture of a board, and tells the kind of each by its effect on the copper.

Copper is dark, and bare board is bright. Paint that joins two pieces of copper is a short. Paint on the edge of
one piece is a spur. Paint on bare board is stray copper. A scratch removes copper: it
makes an open if it cuts a piece in two, a mousebite if it reaches the edge of a piece, and a pin-hole if copper
surrounds it. A defect is left out if its kind is not clear.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge.render.defects import KINDS

#: Kinds of paint and of scratches that touch no, one and two pieces.
PAINTED = tuple(KINDS.index(k) for k in ("copper", "spur", "short"))
SCRATCHED = tuple(KINDS.index(k) for k in ("pin-hole", "mousebite", "open"))
#: Half the side of the window around a stroke in which its effect is examined.
WINDOW_PX = 48


def add_defects(
    board: npt.NDArray[np.uint8],
    boxes: npt.NDArray[np.float32],
    kinds: npt.NDArray[np.int64],
    margin_px: float,
    rng: np.random.Generator,
    *,
    tries: int = 5,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return a copy of the board `(H, W)` uint8 with up to `tries` more defects, and all boxes and kinds.

    Boxes are `(B, 4)` float32 in pixels, and kinds are `(B,)` int64. The box of a new defect is `margin_px`
    larger than the defect on each side.
    """
    board = board.copy()
    edges = cv2.morphologyEx(board[::4, ::4], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(edges > 127)
    for _ in range(tries):
        # Mostly near an edge of the copper.
        if len(rows) and rng.random() < 0.75:
            pick = rng.integers(len(rows))
            x, y = columns[pick] * 4 + rng.integers(-8, 9), rows[pick] * 4 + rng.integers(-8, 9)
        else:
            y, x = rng.integers(board.shape[0]), rng.integers(board.shape[1])
        x, y = int(x), int(y)
        left, top = x - WINDOW_PX, y - WINDOW_PX
        if min(left, top) < 0 or x + WINDOW_PX > board.shape[1] or y + WINDOW_PX > board.shape[0]:
            continue
        window = board[top : y + WINDOW_PX, left : x + WINDOW_PX]
        changed, kind = _try_stroke(window, _stroke(rng), scratch=bool(rng.random() < 0.5))
        if kind is None:
            continue
        ys, xs = np.nonzero(changed)
        box = np.array([xs.min() + left, ys.min() + top, xs.max() + 1 + left, ys.max() + 1 + top], np.float32)
        box += np.array([-margin_px, -margin_px, margin_px, margin_px], np.float32)
        if len(boxes) and np.any(np.all((boxes[:, :2] < box[2:]) & (box[:2] < boxes[:, 2:]), axis=1)):
            continue
        window[changed] = 255 if kind in SCRATCHED else 0
        boxes, kinds = np.concatenate((boxes, box[None])), np.append(kinds, kind)
    return board, boxes, kinds


def _stroke(rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return a random line or blob in the middle of a window as `(2 WINDOW_PX, 2 WINDOW_PX)` bool."""
    canvas = np.zeros((2 * WINDOW_PX, 2 * WINDOW_PX), np.uint8)
    length, direction = rng.uniform(4, 30), rng.uniform(0, 2 * np.pi)
    points = [np.zeros(2)]
    for _ in range(int(rng.integers(1, 4))):
        direction += rng.normal(0, 0.5)
        points.append(points[-1] + length / 3 * np.array([np.cos(direction), np.sin(direction)]))
    path = np.array(points) - np.mean(points, axis=0) + WINDOW_PX
    cv2.polylines(canvas, [np.round(path).astype(np.int32)], False, 255, int(rng.integers(2, 8)))
    # Some have a ragged edge.
    if rng.random() < 0.3:
        canvas[rng.random(canvas.shape) < 0.15] = 0
        canvas = np.asarray(cv2.medianBlur(canvas, 3), np.uint8)
    return canvas > 0


def _try_stroke(
    window: npt.NDArray[np.uint8], stroke: npt.NDArray[np.bool_], *, scratch: bool
) -> tuple[npt.NDArray[np.bool_], int | None]:
    """Return the pixels that the stroke changes, and the kind of defect, or None if the kind is not clear."""
    # The ground that the stroke adds to.
    ground = (window > 127) if scratch else (window <= 127)
    changed = stroke & ~ground
    if changed.sum() < 12 or cv2.connectedComponents(changed.astype(np.uint8))[0] != 2:
        return changed, None
    _, pieces = cv2.connectedComponents(ground.astype(np.uint8), connectivity=8)
    rim = cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    touched = len(np.unique(pieces[rim & ground]))
    # The other ground must agree: a short divides it, a spur does not.
    before = cv2.connectedComponents((~ground).astype(np.uint8), connectivity=4)[0]
    after = cv2.connectedComponents((~ground & ~changed).astype(np.uint8), connectivity=4)[0]
    if touched == 0 and not (stroke & ground).any() and _gap(changed, ground) >= 4:
        return changed, (SCRATCHED if scratch else PAINTED)[0]
    if touched == 1 and after == before:
        return changed, (SCRATCHED if scratch else PAINTED)[1]
    if touched == 2 and after == before + 1:
        return changed, (SCRATCHED if scratch else PAINTED)[2]
    return changed, None


def _gap(changed: npt.NDArray[np.bool_], ground: npt.NDArray[np.bool_]) -> float:
    """Return the distance in pixels between the `changed` pixels and the nearest pixel of `ground`."""
    distance = cv2.distanceTransform((~ground).astype(np.uint8), cv2.DIST_L2, 3)
    return float(distance[changed].min())
