"""Renders the picture of a board as a camera would take it: shifted, turned, in uneven light and with noise."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..recipe import Bayer
from .board import BARE, COPPER, HOLE, MARGIN, Design

_VALUES, _STOPS = np.arange(256), (HOLE, BARE, COPPER)
#: Blue, green and red of each value of the artwork, divided by its grey: laminate is green, copper reddish.
_TINTS = np.stack(
    [np.interp(_VALUES, _STOPS, parts) for parts in ((1, 0.6, 0.6), (1, 1.2, 0.95), (1, 0.5, 1.2))], 1
)
#: The noise field is this much larger than a picture, in pixels, and each picture gets another part of it.
_LOOSE = 48


@dataclass(frozen=True, kw_only=True)
class BoardPose:
    """The place of a board under the camera. The board is turned about the picture's middle, then shifted."""

    dx_px: float = 0.0
    dy_px: float = 0.0
    rotation_deg: float = 0.0

    @staticmethod
    def any(rng: np.random.Generator) -> BoardPose:
        """Return a random pose: shifted by up to 6 pixels in x and in y, and turned by up to 0.7 degrees."""
        dx, dy = rng.uniform(-6, 6, 2)
        return BoardPose(dx_px=float(dx), dy_px=float(dy), rotation_deg=float(rng.uniform(-0.7, 0.7)))

    def matrix(self, height: int, width: int) -> NDArray[np.float64]:
        """Return the `(2, 3)` matrix from pixels of an unmoved board to pixels of a board in this pose."""
        middle = ((width - 1) / 2, (height - 1) / 2)
        matrix = np.asarray(cv2.getRotationMatrix2D(middle, self.rotation_deg, 1.0), np.float64)
        matrix[:, 2] += self.dx_px, self.dy_px
        return matrix


def photograph(
    art: NDArray[np.uint8],
    design: Design,
    pose: BoardPose,
    rng: np.random.Generator,
    *,
    colour: bool = False,
    light: float = 1.0,
) -> NDArray[np.uint8]:
    """Return a photograph of the artwork in this pose, as `(H, W)` grey or `(H, W, 3)` BGR uint8.

    `art` is `(H + 2 MARGIN, W + 2 MARGIN)` uint8. With `light` 0 the light is even. With `light` 1 the light
    varies as that of a lamp does.
    """
    height, width = (size - 2 * MARGIN for size in art.shape)
    matrix = pose.matrix(height, width)
    # The artwork begins MARGIN pixels before the picture.
    matrix[:, 2] -= matrix[:, :2] @ (MARGIN, MARGIN)
    board = cv2.warpAffine(
        art, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    hole, bare, copper = design.levels
    shades = np.interp(_VALUES, _STOPS, (hole, bare, copper * (1 + light * rng.uniform(-0.05, 0.05))))
    level, across, down = 1 + light * rng.uniform(-0.1, 0.1), *(light * rng.uniform(-0.1, 0.1, 2))
    xs, ys = _ramps(height, width)
    gain = cv2.addWeighted(xs, across, ys, down, level)
    x, y = rng.integers(0, _LOOSE, 2)
    noise: NDArray[Any] = _noise(height, width)[y : y + height, x : x + width]
    if colour:
        tinted = np.minimum(shades[:, np.newaxis] * _TINTS, 255).round().astype(np.uint8)
        picture = cv2.applyColorMap(board, tinted[:, np.newaxis])
        gain, noise = cv2.merge((gain,) * 3), cv2.merge((noise,) * 3)
    else:
        picture = cv2.LUT(board, shades.round().astype(np.uint8))
    lit = cv2.multiply(picture, gain, dtype=cv2.CV_8U)
    return np.asarray(cv2.add(lit, noise, dtype=cv2.CV_8U), np.uint8)


def master(design: Design, *, colour: bool = False) -> NDArray[np.uint8]:
    """Return the design's master, unmoved and in even light, as `(H, W)` grey or `(H, W, 3)` BGR uint8."""
    rng = np.random.default_rng(design.number)
    return photograph(design.art, design, BoardPose(), rng, colour=colour, light=0.0)


def mosaic(picture: NDArray[np.uint8], bayer: Bayer) -> NDArray[np.uint8]:
    """Return a `(H, W, 3)` BGR picture as a sensor with colour filters records it: as raw `(H, W)` uint8."""
    raw = np.empty(picture.shape[:2], np.uint8)
    for place, colour in enumerate(bayer):
        pixels = np.s_[place // 2 :: 2, place % 2 :: 2]
        raw[pixels] = picture[..., "bgr".index(colour)][pixels]
    return raw


@functools.lru_cache(maxsize=2)
def _ramps(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two ramps from -1 to 1, from left to right and from top to bottom, as `(H, W)` float32."""
    ys, xs = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return xs.astype(np.float32), ys.astype(np.float32)


@functools.lru_cache(maxsize=2)
def _noise(height: int, width: int) -> NDArray[np.int16]:
    """Return sensor noise and faint spots of the board as `(H + _LOOSE, W + _LOOSE)` int16."""
    rng = np.random.default_rng(20)
    fine = rng.normal(0, 3.0, (height + _LOOSE, width + _LOOSE)).astype(np.float32)
    mottling = cv2.GaussianBlur(rng.normal(0, 60, fine.shape).astype(np.float32), (0, 0), 6)
    return np.asarray((fine + mottling).round(), np.int16)
