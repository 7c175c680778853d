"""Draws a defect of one of six kinds into a board's artwork, and checks that it really is of that kind."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from .board import BARE, COPPER, MARGIN

#: The kinds of defects, in the order of DeepPCB's type numbers 1 to 6.
KINDS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")

#: x1, y1, x2, y2 in pixels of the picture in its nominal pose.
Box = tuple[int, int, int, int]
#: A point `(2,)` x, y, or a stroke `(N, 3)` of x, y, radius.
_Point = NDArray[np.float64]

#: By how much each kind of defect changes the number of copper islands and of bare islands around it.
#: An open joins the bare laminate on both sides of the trace, so only its copper is counted.
_ISLANDS: dict[str, tuple[int, int | None]] = {
    "open": (+1, None),
    "short": (-1, None),
    "mousebite": (0, 0),
    "spur": (0, 0),
    "copper": (+1, 0),
    "pin-hole": (0, +1),
}
_FINE = 4
#: Half the side of the patch in which a defect is drawn and checked, in pixels.
_PATCH = 40
#: Pixels that a defect must clearly change.
_LEAST_PX = 30


def add_defect(art: NDArray[np.uint8], kind: str, rng: np.random.Generator, taken: list[Box]) -> Box | None:
    """Draw a defect of this kind into `art`, `(H, W)` uint8, in place, away from the boxes in `taken`.

    Return the box around the defect, with a margin as in the DeepPCB data set. If no place was found, return
    None and leave `art` unchanged.
    """
    for _ in range(200 if min(art.shape) >= 2 * (MARGIN + _PATCH) else 0):
        stroke = _STROKES[kind](art, rng)
        if stroke is None:
            continue
        middle = np.round(stroke[:, :2].mean(0)).astype(int)
        left, top = int(middle[0]) - _PATCH, int(middle[1]) - _PATCH
        patch = art[top : top + 2 * _PATCH, left : left + 2 * _PATCH]
        if left < 0 or top < 0 or patch.shape != (2 * _PATCH, 2 * _PATCH):
            continue
        coverage = _draw(stroke - (left, top, 0))
        if kind in ("open", "mousebite", "pin-hole"):
            changed = np.where(patch > BARE, patch - (patch.astype(np.float32) - BARE) * coverage, patch)
        else:
            changed = patch + (COPPER - patch.astype(np.float32)) * coverage
        clearly = np.abs(changed - patch) > (COPPER - BARE) / 2
        box = _box(clearly, left, top, art.shape, rng)
        if box is None or any(_near(box, other) for other in taken) or not _is_truly(kind, patch, changed):
            continue
        patch[:] = changed.round()
        return box
    return None


def _is_truly(kind: str, before: NDArray[np.uint8], after: NDArray[np.float32]) -> bool:
    """Return whether the `(h, w)` patch gained or lost as many separate areas as this kind of defect must."""
    copper, bare = _ISLANDS[kind]
    was, now = before > (BARE + COPPER) // 2, after > (BARE + COPPER) / 2
    return _islands(now) - _islands(was) == copper and (bare is None or _islands(~now) - _islands(~was) == bare)


def _islands(mask: NDArray[np.bool_]) -> int:
    """Return the number of connected areas of more than 5 pixels in a `(h, w)` mask."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return int((stats[1:, cv2.CC_STAT_AREA] > 5).sum())


def _box(
    clearly: NDArray[np.bool_], left: int, top: int, shape: tuple[int, ...], rng: np.random.Generator
) -> Box | None:
    """Return the box around the True pixels of `clearly`, `(h, w)` bool, with a margin.

    Return None if too few pixels are True, or if the box is too near to the border of the picture.
    """
    ys, xs = np.nonzero(clearly)
    if len(ys) < _LEAST_PX:
        return None
    margin = int(rng.integers(8, 13))
    box = (
        left + int(xs.min()) - margin - MARGIN,
        top + int(ys.min()) - margin - MARGIN,
        left + int(xs.max()) + 1 + margin - MARGIN,
        top + int(ys.max()) + 1 + margin - MARGIN,
    )
    inside = min(box[:2]) >= 8 and box[2] <= shape[1] - 2 * MARGIN - 8 and box[3] <= shape[0] - 2 * MARGIN - 8
    return box if inside else None


def _near(a: Box, b: Box) -> bool:
    return a[0] < b[2] + 8 and b[0] < a[2] + 8 and a[1] < b[3] + 8 and b[1] < a[3] + 8


def _draw(stroke: _Point) -> NDArray[np.float32]:
    """Return how much a `(N, 3)` stroke covers each pixel, as `(2 _PATCH, 2 _PATCH)` float32 from 0 to 1."""
    fine = np.zeros((2 * _PATCH * _FINE, 2 * _PATCH * _FINE), np.uint8)
    for a, b in pairwise(stroke):
        for t in np.linspace(0, 1, 12):
            x, y, radius = (a + (b - a) * t + (0.5, 0.5, 0)) * _FINE
            cv2.circle(fine, (int(x), int(y)), int(max(radius, 3.0)), 255, -1)
    size = (2 * _PATCH, 2 * _PATCH)
    return np.asarray(cv2.resize(fine / np.float32(255), size, interpolation=cv2.INTER_AREA), np.float32)


def _wander(start: _Point, end: _Point, radius: tuple[float, float], rng: np.random.Generator) -> _Point:
    """Return an uneven stroke between two `(2,)` points, as if drawn by hand, as `(N, 3)` of x, y, radius."""
    knots = int(np.linalg.norm(end - start) / 6) + 2
    along = np.linspace(0, 1, knots)[:, None]
    points = start + (end - start) * along
    points[1:-1] += rng.normal(0, 1.2, (knots - 2, 2))
    return np.hstack([points, rng.uniform(*radius, (knots, 1))])


def _toward(angle: float) -> _Point:
    """Return the `(2,)` unit vector that points in the direction `angle`, in radians."""
    return np.array([np.cos(angle), np.sin(angle)])


def _somewhere(art: NDArray[np.uint8], copper: bool, rng: np.random.Generator) -> _Point:
    """Return x, y of a random pixel of `art`, `(H, W)`, as `(2,)`: on copper if `copper`, else on laminate."""
    edge = MARGIN + 16
    for _ in range(100):
        x, y = rng.integers(edge, art.shape[1] - edge), rng.integers(edge, art.shape[0] - edge)
        if (art[y, x] > (BARE + COPPER) // 2) == copper:
            break
    return np.array([x, y], float)


def _reach(art: NDArray[np.uint8], start: _Point, angle: float, copper: bool) -> float:
    """Return how many pixels copper (else laminate) continues from `start`, `(2,)`, at `angle`; at most 36."""
    steps = np.arange(0, 36, 0.5)
    x, y = np.round(start[:, None] + _toward(angle)[:, None] * steps).astype(int)
    ends = (art[y.clip(0, art.shape[0] - 1), x.clip(0, art.shape[1] - 1)] > (BARE + COPPER) // 2) != copper
    return float(steps[ends.argmax()]) if ends.any() else 36.0


def _across(art: NDArray[np.uint8], copper: bool, longest: float, rng: np.random.Generator) -> _Point | None:
    """Return a `(N, 3)` stroke across a trace (an open) or a gap (a short), or None if none was suitable."""
    place = _somewhere(art, copper, rng)
    angles = np.arange(8) * np.pi / 8
    spans = [(_reach(art, place, a, copper), _reach(art, place, a + np.pi, copper), a) for a in angles]
    ahead, back, angle = min(spans, key=lambda span: span[0] + span[1])
    if not 4 <= ahead + back <= longest:
        return None
    angle += rng.normal(0, 0.12)
    over = 1.5
    return _wander(
        place - _toward(angle) * (back + over), place + _toward(angle) * (ahead + over), (1.5, 3.5), rng
    )


def _open(art: NDArray[np.uint8], rng: np.random.Generator) -> _Point | None:
    """Return a `(N, 3)` stroke of bare laminate that cuts a trace, or None if no suitable trace was found."""
    return _across(art, True, 24, rng)


def _short(art: NDArray[np.uint8], rng: np.random.Generator) -> _Point | None:
    """Return a `(N, 3)` stroke of copper that joins two separate traces, or None if no gap was suitable."""
    stroke = _across(art, False, 34, rng)
    if stroke is None:
        return None
    _, nets = cv2.connectedComponents((art > (BARE + COPPER) // 2).astype(np.uint8), connectivity=4)
    (x1, y1), (x2, y2) = np.round(stroke[[0, -1], :2]).astype(int)
    return stroke if nets[y1, x1] and nets[y2, x2] and nets[y1, x1] != nets[y2, x2] else None


def _from_edge(art: NDArray[np.uint8], into_copper: bool, rng: np.random.Generator) -> _Point | None:
    """Return a `(N, 3)` stroke that begins at a copper edge: a mousebite or spur. None if there is no room."""
    place, angle = _somewhere(art, not into_copper, rng), rng.uniform(0, 2 * np.pi)
    to_rim = _reach(art, place, angle, not into_copper)
    if to_rim >= 36:
        return None
    rim = place + _toward(angle) * to_rim
    room = _reach(art, rim + _toward(angle), angle, into_copper)
    depth = min(rng.uniform(3, 15), room - 5)
    if depth < 2:
        return None
    return _wander(rim - _toward(angle) * 1.5, rim + _toward(angle) * depth, (2.0, 4.5), rng)


def _alone(art: NDArray[np.uint8], in_copper: bool, rng: np.random.Generator) -> _Point | None:
    """Return a `(N, 3)` stroke that touches no edge: a pin-hole or excess copper. None if there is no room."""
    place, angle, length = _somewhere(art, in_copper, rng), rng.uniform(0, 2 * np.pi), rng.uniform(3, 16)
    if min(_reach(art, place, angle + turn, in_copper) for turn in (0.0, np.pi)) < length / 2 + 4:
        return None
    return _wander(place - _toward(angle) * length / 2, place + _toward(angle) * length / 2, (2.0, 4.5), rng)


_STROKES: dict[str, Callable[[NDArray[np.uint8], np.random.Generator], _Point | None]] = {
    "open": _open,
    "short": _short,
    "mousebite": lambda art, rng: _from_edge(art, True, rng),
    "spur": lambda art, rng: _from_edge(art, False, rng),
    "copper": lambda art, rng: _alone(art, False, rng),
    "pin-hole": lambda art, rng: _alone(art, True, rng),
}
