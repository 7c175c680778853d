"""Takes the picture of a board as a line camera would: a little off its place, in uneven light, with noise."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .board import BARE, COPPER, HOLE, MARGIN, Design

_LOOSE = 48  # the noise field is so much larger than a picture, and each picture gets another part of it


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a board lies under the camera: turned about the middle of the picture, then shifted."""

    dx_px: float = 0.0
    dy_px: float = 0.0
    rotation_deg: float = 0.0

    @staticmethod
    def any(rng: np.random.Generator) -> Pose:
        dx, dy = rng.uniform(-6, 6, 2)
        return Pose(dx_px=float(dx), dy_px=float(dy), rotation_deg=float(rng.uniform(-0.7, 0.7)))

    def matrix(self, height: int, width: int) -> NDArray[np.float64]:
        """2x3: pixel of the picture in nominal pose -> pixel of this picture."""
        middle = ((width - 1) / 2, (height - 1) / 2)
        matrix = np.asarray(cv2.getRotationMatrix2D(middle, self.rotation_deg, 1.0), np.float64)
        matrix[:, 2] += self.dx_px, self.dy_px
        return matrix


def photograph(
    art: NDArray[np.uint8], design: Design, pose: Pose, rng: np.random.Generator, light: float = 1.0
) -> NDArray[np.uint8]:
    """The picture `(height, width)` of artwork in a pose; `light` 0 is even light, 1 varies as a lamp does."""
    height, width = (size - 2 * MARGIN for size in art.shape)
    matrix = pose.matrix(height, width)
    matrix[:, 2] -= matrix[:, :2] @ (MARGIN, MARGIN)  # the artwork begins MARGIN before the picture
    picture = cv2.warpAffine(
        art, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    hole, bare, copper = design.levels
    picture = cv2.LUT(picture, _greys(hole, bare, copper * (1 + light * rng.uniform(-0.05, 0.05))))
    level, across, down = 1 + light * rng.uniform(-0.1, 0.1), *(light * rng.uniform(-0.1, 0.1, 2))
    xs, ys = _ramps(height, width)
    gain = cv2.addWeighted(xs, across, ys, down, level)
    noise = _noise(height, width)
    x, y = rng.integers(0, _LOOSE, 2)
    lit = cv2.multiply(picture, gain, dtype=cv2.CV_8U)
    return np.asarray(cv2.add(lit, noise[y : y + height, x : x + width], dtype=cv2.CV_8U), np.uint8)


def master(design: Design) -> NDArray[np.uint8]:
    """The picture of a design without defects, in its nominal pose and in even light."""
    return photograph(design.art, design, Pose(), np.random.default_rng(design.number), light=0.0)


def in_colour(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same picture as BGR: dark laminate green, copper reddish."""
    return np.asarray(cv2.applyColorMap(grey, _tints()), np.uint8)


def _greys(hole: float, bare: float, copper: float) -> NDArray[np.uint8]:
    greys = np.interp(np.arange(256), (HOLE, BARE, COPPER), (hole, bare, copper))
    return np.asarray(greys.round(), np.uint8)


@functools.cache
def _tints() -> NDArray[np.uint8]:
    stops = {0: (0, 0, 0), 80: (62, 92, 34), 140: (96, 140, 130), 200: (120, 178, 226), 255: (225, 245, 255)}
    channels = [np.interp(np.arange(256), list(stops), [bgr[c] for bgr in stops.values()]) for c in range(3)]
    return np.asarray(np.stack(channels, axis=-1).round(), np.uint8)[:, None]


@functools.lru_cache(maxsize=2)
def _ramps(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    ys, xs = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return xs.astype(np.float32), ys.astype(np.float32)


@functools.lru_cache(maxsize=2)
def _noise(height: int, width: int) -> NDArray[np.int16]:
    """Sensor noise and, far weaker, the mottling of copper and laminate."""
    rng = np.random.default_rng(20)
    fine = rng.normal(0, 3.0, (height + _LOOSE, width + _LOOSE)).astype(np.float32)
    mottling = cv2.GaussianBlur(rng.normal(0, 60, fine.shape).astype(np.float32), (0, 0), 6)
    return np.asarray((fine + mottling).round(), np.int16)
