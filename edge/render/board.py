"""Draws the artwork of a bare circuit board, which is its pattern of copper, bare laminate and holes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

#: Artwork beyond each side of the picture, so that a shifted and turned board still fills it.
MARGIN = 32
#: Values of the artwork: a drilled hole, bare laminate, copper. A value in between is a mixture of two.
HOLE, BARE, COPPER = 0, 64, 255

#: The artwork is drawn this much larger and then averaged, so that edges are smooth.
_FINE = 4
#: Steps of (rows, columns) to the 8 neighbours, 45 degrees apart.
_STEPS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))


@dataclass(frozen=True)
class Design:
    """A design of a circuit board. The same number and size always give the same artwork."""

    number: int
    art: NDArray[np.uint8]  # (H + 2 MARGIN, W + 2 MARGIN), values HOLE to COPPER
    levels: tuple[float, float, float]  # grey levels of hole, bare laminate and copper in even light

    @property
    def view(self) -> str:
        """Return the name of the view that shows boards of this design, such as `design-0`."""
        return f"design-{self.number}"


def design(number: int, height: int, width: int) -> Design:
    """Return the design with this number. Its artwork is drawn for pictures of `height` x `width` pixels."""
    rng = np.random.default_rng([7, number, height, width])
    art = _Drawing(rng, height + 2 * MARGIN, width + 2 * MARGIN).finish()
    bare = rng.uniform(45, 105)
    return Design(number, art, (rng.uniform(8, 26), bare, bare + rng.uniform(75, 115)))


class _Drawing:
    """Draws pads and traces at random on the free cells of a grid, so that nothing crosses anything else."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self._rng = rng
        self._pitch = rng.uniform(15, 27)
        self._trace = self._pitch * rng.uniform(0.26, 0.42)
        # Radii of pads and of their holes.
        self._pad = self._pitch * rng.uniform(0.32, 0.4)
        self._drill = self._pad * rng.uniform(0.4, 0.6)
        self._rows, self._cols = int(height / self._pitch) + 1, int(width / self._pitch) + 1
        self._taken = np.zeros((self._rows, self._cols), bool)
        # Cells over whose corner a diagonal trace runs.
        self._crossed = np.zeros((self._rows, self._cols), bool)
        self._copper = np.zeros((height * _FINE, width * _FINE), np.uint8)
        self._holes = np.zeros_like(self._copper)
        self._size = (width, height)

    def finish(self) -> NDArray[np.uint8]:
        """Draw all parts of the board, and return its artwork as `(H + 2 MARGIN, W + 2 MARGIN)` uint8."""
        rng, cells = self._rng, self._rows * self._cols
        density = rng.uniform(0.5, 1.0)
        for _ in range(int(cells * density / 90) + 1):
            self._pads_in_rows()
        for _ in range(int(cells * density / 80) + 1):
            self._bus(int(rng.integers(2, 8)))
        for _ in range(int(cells * density / 10)):
            self._bus(1)
        copper, holes = (
            np.asarray(cv2.resize(layer, self._size, interpolation=cv2.INTER_AREA), np.uint8)
            for layer in (self._copper, self._holes)
        )
        if rng.random() < 0.8:
            copper = np.maximum(copper, self._ground(copper))
        art = BARE + copper.astype(np.float32) * ((COPPER - BARE) / 255)
        art += (HOLE - art) * (holes.astype(np.float32) / 255)
        return np.asarray(art.round(), np.uint8)

    def _ground(self, copper: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ground areas as `(H, W)` uint8, 0 to 255. They keep a distance from the `copper` so far."""
        rng, (width, height) = self._rng, self._size
        clearance = self._pitch * rng.uniform(0.3, 0.55)
        free = cv2.distanceTransform((copper < 128).astype(np.uint8), cv2.DIST_L2, 5) - clearance
        region = np.zeros((height, width), np.uint8)
        for _ in range(int(rng.integers(1, 4))):
            w, h = rng.uniform(0.25, 0.8, 2) * (width, height)
            x, y = rng.uniform(-0.2, 0.8, 2) * (width, height)
            cut = rng.uniform(0, 0.3) * min(w, h)
            corners = [
                (cut, 0),
                (w - cut, 0),
                (w, cut),
                (w, h - cut),
                (w - cut, h),
                (cut, h),
                (0, h - cut),
                (0, cut),
            ]
            cv2.fillPoly(region, [np.array([(x + dx, y + dy) for dx, dy in corners], np.int32)], 255)
        body = ((free > 0) & (region > 0)).astype(np.uint8)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
        # Opening removes slivers between traces.
        whole = cv2.morphologyEx(body, cv2.MORPH_OPEN, kernel)
        return np.asarray(cv2.GaussianBlur(whole * 255, (3, 3), 0.7), np.uint8)

    def _pads_in_rows(self) -> None:
        """Draw rows of pads, either round with a hole or rectangular, and traces from some of the pads."""
        rng = self._rng
        rows, cols = int(rng.integers(1, 5)), int(rng.integers(2, 9))
        apart, gap = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        if rng.random() < 0.5:
            rows, cols, apart, gap = cols, rows, gap, apart
        top, left = int(rng.integers(0, self._rows)), int(rng.integers(0, self._cols))
        places = [(top + r * apart, left + c * gap) for r in range(rows) for c in range(cols)]
        if not all(self._is_free(r, c) and not self._corners(r, c).any() for r, c in places):
            return
        drilled, tall = rng.random() < 0.5, rng.random() < 0.5
        for place in places:
            if drilled:
                self._via(place)
            else:
                half = np.array((0.36, 0.44) if tall else (0.44, 0.36)) * self._pitch * _FINE
                x, y = self._at(place)
                cv2.rectangle(
                    self._copper,
                    (int(x - half[0]), int(y - half[1])),
                    (int(x + half[0]), int(y + half[1])),
                    255,
                    -1,
                )
            self._taken[place] = True
            # No diagonal trace may touch a pad.
            self._corners(*place)[:] = True
        for place in places:
            if rng.random() < 0.6:
                self._lead(place, int(rng.integers(0, 8)))

    def _bus(self, lanes: int) -> None:
        """Draw `lanes` parallel traces from a random place if it is free. Most ends of traces get a via."""
        rng = self._rng
        heading = int(rng.integers(0, 4)) * 2
        side = _STEPS[(heading + 2) % 8]
        row, col = int(rng.integers(0, self._rows)), int(rng.integers(0, self._cols))
        starts = [(row + side[0] * lane, col + side[1] * lane) for lane in range(lanes)]
        if not all(self._is_free(r, c) for r, c in starts):
            return
        width = (
            self._trace if rng.random() < 0.8 else min(self._trace * rng.uniform(1.2, 1.9), self._pitch * 0.55)
        )
        paths = self._walk(starts, heading)
        if len(paths[0]) < 3:
            return
        for path in paths:
            self._line(path, width)
            for end in (path[0], path[-1]):
                if rng.random() < 0.85:
                    self._via(end)

    def _lead(self, start: tuple[int, int], heading: int) -> None:
        """Draw a trace that starts at a pad, and a via at the other end of the trace."""
        path = self._walk([start], heading)[0]
        if len(path) > 2:
            self._line(path, self._trace)
            self._via(path[-1])

    def _walk(self, starts: list[tuple[int, int]], heading: int) -> list[list[tuple[int, int]]]:
        """Return one path of free cells from each start. The paths are parallel and may turn by 45 degrees."""
        rng, turn = self._rng, 0
        paths = [[start] for start in starts]
        for place in starts:
            self._taken[place] = True
        for _ in range(int(rng.integers(2, 8))):
            step = _STEPS[(heading + turn) % 8]
            for _ in range(int(rng.integers(1, 9))):
                ahead = [(path[-1][0] + step[0], path[-1][1] + step[1]) for path in paths]
                corners = [
                    (min(a, c), min(b, d)) for (a, b), (c, d) in zip((p[-1] for p in paths), ahead, strict=True)
                ]
                diagonal = step[0] != 0 and step[1] != 0
                if not all(self._is_free(r, c) for r, c in ahead):
                    break
                if diagonal and any(self._crossed[corner] for corner in corners):
                    break
                for path, place, corner in zip(paths, ahead, corners, strict=True):
                    path.append(place)
                    self._taken[place] = True
                    self._crossed[corner] |= diagonal
            turn = int(rng.integers(-1, 2)) if turn == 0 else 0
        return paths

    def _is_free(self, row: int, col: int) -> bool:
        return 0 <= row < self._rows and 0 <= col < self._cols and not self._taken[row, col]

    def _corners(self, row: int, col: int) -> NDArray[np.bool_]:
        """Return whether a diagonal trace crosses each corner of a cell, as a view of up to `(2, 2)` bool."""
        return self._crossed[max(row - 1, 0) : row + 1, max(col - 1, 0) : col + 1]

    def _at(self, place: tuple[int, int]) -> tuple[int, int]:
        """Return x and y of a grid cell in pixels of the enlarged drawing."""
        return int(place[1] * self._pitch * _FINE), int(place[0] * self._pitch * _FINE)

    def _line(self, path: list[tuple[int, int]], width: float) -> None:
        points = np.array([self._at(place) for place in path], np.int32)
        cv2.polylines(self._copper, [points], False, 255, max(1, round(width * _FINE)))

    def _via(self, place: tuple[int, int]) -> None:
        cv2.circle(self._copper, self._at(place), int(self._pad * _FINE), 255, -1)
        cv2.circle(self._holes, self._at(place), int(self._drill * _FINE), 255, -1)
