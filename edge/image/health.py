"""Measures what pictures show of camera and lamp: brightness, saturation, sharpness, and whether they repeat.

Sharpness is the mean squared difference of neighbouring pixels, divided by that of pixels a few places apart
(the structure function of the picture at two distances). The change of the light's strength cancels out. The
ratio is 1/16 for a smooth slope and 1 for noise; blur lowers it. It is computed along rows and along columns,
and the lower one counts, so motion blur in one direction is seen.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..messages import Health
from ..recipe import Bayer, Crop

#: Number of places, evenly spread over the picture, where rows are sampled.
BANDS = 64
#: Distance of the pixels with which differences of neighbours are compared.
APART = 4
#: The least grey level of a saturated pixel.
SATURATED = 250


class HealthMeter:
    """Measures the pictures of one camera, one after another, within `crop` of the frame.

    Of `bayer` frames and of colour frames only green counts. `is_live` says that the camera is a real one,
    whose pictures never repeat; those of other sources are not compared.
    """

    def __init__(self, crop: Crop | None, bayer: Bayer | None, *, is_live: bool) -> None:
        self._crop, self._bayer, self._is_live = crop, bayer, is_live
        self._last: NDArray[np.uint8] | None = None
        self._repeats = 0

    def measure(self, frame: NDArray[np.uint8]) -> Health:
        """Return the health of the next frame, `(H, W)` grey or raw, or `(H, W, 3)` BGR, uint8."""
        rows = _rows(self._green(frame))
        repeats = self._count_repeats(rows)
        here, below, apart = rows
        return Health(
            level=round(float(cv2.mean(here)[0]), 2),
            saturated=round(cv2.countNonZero(cv2.inRange(here, SATURATED, 255)) / here.size, 4),
            focus=round(min(_along_rows(here), _ratio(_energy(here, below), _energy(here, apart))), 4),
            repeats=repeats,
        )

    def _green(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the crop's green or grey pixels as a view; of a raw frame one of each 2x2 pixels."""
        x, y, width, height = self._crop or (0, 0, frame.shape[1], frame.shape[0])
        if frame.ndim == 3:
            return frame[y : y + height, x : x + width, 1]
        if self._bayer is None:
            return frame[y : y + height, x : x + width]
        left, top = x // 2 * 2 + self._bayer.index("g"), y // 2 * 2
        return frame[top : y + height : 2, left : x + width : 2]

    def _count_repeats(self, rows: NDArray[np.uint8]) -> int:
        if not self._is_live:
            return 0
        same = self._last is not None and np.array_equal(rows, self._last)
        self._last, self._repeats = rows, self._repeats + 1 if same else 0
        return self._repeats


def _rows(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a sample of rows as `(3, N, W)` uint8: rows, the rows below them, and rows APART below them."""
    apart = min(APART, plane.shape[0] - 1)
    places = np.arange(0, plane.shape[0] - apart, max(1, (plane.shape[0] - apart) // BANDS))
    return np.stack([plane[places + down] for down in (0, 1, apart)])


def _along_rows(rows: NDArray[np.uint8]) -> float:
    apart = min(APART, rows.shape[1] - 1)
    return _ratio(_energy(rows[:, 1:], rows[:, :-1]), _energy(rows[:, apart:], rows[:, :-apart]))


def _energy(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the mean squared difference of two arrays of the same shape."""
    return float(cv2.norm(one, other, cv2.NORM_L2SQR)) / one.size


def _ratio(near: float, far: float) -> float:
    return near / far if far else 0.0
