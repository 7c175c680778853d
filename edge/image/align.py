"""Improves the shift and rotation between a part and its master by one small step, whatever the light.

It is a Gauss-Newton step of the inverse compositional method (Baker and Matthews, "Lucas-Kanade 20 years on",
IJCV 2004). Gradients and Hessian are those of the master and are computed once. Gain, offset and slopes of the
light are projected out of the gradients, so a change of the light does not move the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..recipe import Motion

Floats = NDArray[np.float32]

#: In pixels of the level. After a step this small, the next step would not matter.
_SMALL_STEP = 0.08
#: Sides of the windows of `difference`, as shares of the picture's shorter side. Blurring over `_BLUR` cancels
#: edges that lie slightly off. Differences are averaged over `_WINDOW`.
_BLUR, _WINDOW = 1 / 20, 1 / 4


@dataclass(frozen=True)
class Pose:
    """How a part is turned and shifted against its master.

    A point z of the master lies at `turn * z + shift` on the part. Points are complex numbers x + iy, in the
    frame's pixels from the middle of the picture.
    """

    turn: complex = 1 + 0j
    shift: complex = 0j

    def corrected(self, turn: complex, shift: complex) -> Pose:
        """Return this pose, corrected by the inverse of a small turn and shift of the master."""
        rest = self.turn / turn
        return Pose(rest / abs(rest), self.shift - rest * shift)

    def matrix(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return the pose as a `(2, 3)` float64 matrix, from master to part, for pictures of `shape` (H, W)."""
        middle = complex(shape[1] - 1, shape[0] - 1) / 2
        moved, a, b = middle + self.shift - self.turn * middle, self.turn.real, self.turn.imag
        return np.array([[a, -b, moved.real], [b, a, moved.imag]])


@dataclass(frozen=True, kw_only=True)
class Step:
    """How well a part fits its master in one pose, and the small turn and shift that would improve the fit."""

    correlation: float  # without changes of the light; -1 for an even picture or a negative of the master
    turn: complex
    shift: complex
    is_last: bool  # this step is so small that the next one would not matter
    warped: Floats  # (N,) the part's pixels, warped onto the master by this pose, without the rim
    gain: float  # the master's contrast, divided by the part's


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where a part differs most from its master, and by how much."""

    value: float  # mean over a window, in standard deviations of the master
    place: complex  # middle of that window, x + iy in pixels of the master


class Level:
    """A master, reduced to one size. Its rim is ignored, since a shifted part may not cover the rim."""

    def __init__(
        self,
        picture: Floats,
        full: tuple[int, ...],
        motion: Motion,
        reach_px: float,
        ignored: NDArray[np.bool_] | None = None,
    ) -> None:
        """`picture` is the reduced master as `(H, W)` float32. `full` is the shape of the full-size master.

        `reach_px` is the width of the rim in pixels of the full-size master. `ignored`, of any size, is True at
        the places of the master that count for nothing, like the rim.
        """
        self._height, self._width = picture.shape
        self._scale = (full[1] / self._width, full[0] / self._height)
        # A turn is measured by how far a point at this distance from the middle moves.
        self._radius = math.hypot(*full[:2]) / 4
        self._rim = max(1, min(round(reach_px / min(self._scale)), min(picture.shape) // 8))
        inside = (slice(self._rim, -self._rim),) * 2
        ys, xs = (
            grid[inside].ravel()
            for grid in np.meshgrid(
                self._scale[1] * (np.arange(self._height) + 0.5 - self._height / 2),
                self._scale[0] * (np.arange(self._width) + 0.5 - self._width / 2),
                indexing="ij",
            )
        )
        self._counted = None if ignored is None else _counted(ignored, picture.shape)[inside].ravel()
        counted = 1 if self._counted is None else self._counted
        gx = cv2.Sobel(picture, cv2.CV_64F, 1, 0, scale=1 / 8)[inside].ravel() / self._scale[0] * counted
        gy = cv2.Sobel(picture, cv2.CV_64F, 0, 1, scale=1 / 8)[inside].ravel() / self._scale[1] * counted
        moves = {"none": [], "shift": [gx, gy], "rigid": [gx, gy, (gy * xs - gx * ys) / self._radius]}[motion]
        master = picture[inside].astype(np.float64).ravel()
        slopes = np.array([np.ones_like(xs), xs / self._radius, ys / self._radius]) * counted
        light = _orthonormal(np.vstack([slopes, slopes * master]))
        self._contrast = float(light[3] @ master)

        def lightless(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
            stacked = np.array(rows).reshape(-1, master.size)
            return np.asarray(stacked - stacked @ light.T @ light, np.float64)

        descent = lightless(moves)
        self._rows = np.vstack([descent, light]).astype(np.float32)
        self._solve = _damped_inverse(descent)
        quarters = [left & upper for left in (xs < 0, xs >= 0) for upper in (ys < 0, ys >= 0)]
        local = [lightless([gx * quarter, gy * quarter]) for quarter in quarters]
        self._quarters = [(_damped_inverse(rows), rows.astype(np.float32)) for rows in local]

    def step(self, part: Floats, pose: Pose) -> Step:
        """Compare the part in a pose with the master, and compute how to improve the pose.

        `part` is reduced to this level's size, as `(H, W)` float32.
        """
        inner = (self._width - 2 * self._rim, self._height - 2 * self._rim)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = np.asarray(
            cv2.warpAffine(part, self._matrix(pose), inner, flags=flags, borderMode=cv2.BORDER_REPLICATE),
            np.float32,
        ).ravel()
        if self._counted is not None:
            warped = warped * self._counted
        sums = (self._rows @ warped).astype(np.float64)
        toward, plain, like = np.split(sums, (-6, -3))
        energy = float(warped @ warped) - float(plain @ plain)
        if like[0] <= 0 or energy <= 0:
            return Step(correlation=-1.0, turn=1 + 0j, shift=0j, is_last=True, warped=warped, gain=0.0)
        gain = self._contrast / float(like[0])
        move = [*(self._solve @ toward * gain), 0.0, 0.0, 0.0]
        shift, way = complex(move[0], move[1]), float(move[2])
        return Step(
            correlation=min(1.0, math.sqrt(float(like @ like) / energy)),
            turn=complex(1, way / self._radius),
            shift=shift,
            is_last=abs(shift) + abs(way) < _SMALL_STEP * min(self._scale),
            warped=warped,
            gain=gain,
        )

    def residual_px(self, step: Step) -> float:
        """Return by how many of the master's pixels the part's worst-fitting quarter is off the master."""
        return max(math.hypot(*(solve @ (rows @ step.warped) * step.gain)) for solve, rows in self._quarters)

    def difference(self, step: Step) -> Difference:
        """Return where and how much the part differs most from the master. Gain and offset are ignored."""
        # Slopes of gain stay in: they would explain a part of which half is covered.
        plain_and_like = self._rows[-6:-2]
        sums = plain_and_like @ step.warped
        if sums[3] <= 0:
            return Difference(value=math.inf, place=0j)
        count = step.warped.size if self._counted is None else float(self._counted.sum())
        rest = (step.warped - sums @ plain_and_like) * (math.sqrt(count) / float(sums[3]))
        picture = rest.reshape(self._height - 2 * self._rim, -1)
        side = min(self._height, self._width)
        blur, window = max(1, round(side * _BLUR)), max(2, round(side * _WINDOW))
        half = window // 2
        means = cv2.blur(np.abs(cv2.blur(picture, (blur, blur))), (window, window))
        # Windows that lie inside the picture as a whole.
        _, value, _, (x, y) = cv2.minMaxLoc(means[half:-half, half:-half])
        place = complex(self._scale[0] * (x + half + self._rim), self._scale[1] * (y + half + self._rim))
        return Difference(value=float(value), place=place)

    def _matrix(self, pose: Pose) -> NDArray[np.float64]:
        """Return a pose as `(2, 3)` float64, from this level's pixels without the rim to those of the part."""
        (sx, sy), a, b = self._scale, pose.turn.real, pose.turn.imag
        x, y = self._rim + 0.5 - self._width / 2, self._rim + 0.5 - self._height / 2
        return np.array(
            [
                [a, -b * sy / sx, a * x + (pose.shift.real - b * sy * y) / sx + self._width / 2 - 0.5],
                [b * sx / sy, a, a * y + (pose.shift.imag + b * sx * x) / sy + self._height / 2 - 0.5],
            ]
        )


def _counted(ignored: NDArray[np.bool_], shape: tuple[int, ...]) -> Floats:
    """Return 1 for each pixel of a reduced master of this shape and 0 for those that touch an ignored place."""
    shares = cv2.resize(ignored.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    # The copies are blurred by 3x3 pixels.
    return np.asarray(cv2.dilate(shares, np.ones((3, 3), np.uint8)) == 0, np.float32)


def _orthonormal(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return orthonormal rows as `(K, N)` float64 with the same span. A row that adds none becomes nearly 0."""
    gram = rows @ rows.T
    factor = np.linalg.cholesky(gram + 1e-9 * np.trace(gram) * np.eye(len(rows)))
    return np.asarray(np.linalg.solve(factor, rows), np.float64)


def _damped_inverse(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse Hessian as `(K, K)` float64 for gradients `rows`, `(K, N)`, one row for each motion.

    The inverse is damped. It stays small for a motion that hardly changes the master's picture.
    """
    hessian = rows @ rows.T
    damping = 0.003 * float(np.trace(hessian)) / max(len(rows), 1) + 1e-9
    inverse: NDArray[np.float64] = np.linalg.inv(hessian + damping * np.eye(len(rows)))
    return inverse
