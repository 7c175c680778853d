"""Registers a part to its master: finds how the part is shifted and turned, to a fraction of a pixel.

Phase correlation of reduced pictures (Kuglin and Hines 1975) gives a first guess of the shift. Gauss-Newton
steps (align.py) then find shift and rotation on reduced copies, the smallest copy first. Why no library
does this: docs/decisions/registration-is-our-own.md.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .. import recipe
from ..errors import PartError
from .align import Difference, Floats, Level, Pose

_MOST_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class Registration:
    """How a part is shifted and turned against its master. Distances are in pixels of the unreduced picture."""

    matrix: NDArray[np.float64]  # 2x3, pixel of the master -> pixel of the part
    correlation: float  # of part and master, after differences in light are removed
    residual_px: float  # how far the worst quarter of the part still lies off its master
    difference: Difference  # the greatest one from the master
    shift: complex  # of the middle of the picture: pixels right + i pixels down
    rotation_deg: float

    @property
    def shift_px(self) -> float:
        """How far the middle of the picture is shifted."""
        return abs(self.shift)

    @property
    def pose(self) -> tuple[float, float, float]:
        """The shift right and down in pixels, and the turn in degrees, rounded for messages."""
        return round(self.shift.real, 3), round(self.shift.imag, 3), round(self.rotation_deg, 4)


def register(part: NDArray[np.uint8], template: Template) -> Registration:
    """Return how a part is shifted and turned against its master. `part` is grey, `(H, W)` uint8.

    Raise PartError if the part is shifted or turned more than the limits allow, or looks unlike its master.
    """
    if part.shape != template.shape:
        raise PartError("registration", f"expected a picture of {template.shape}, found {part.shape}")
    limits, copies = template.limits, template.copies(part)
    found = template.fit(copies, template.start(copies))
    if found.correlation < limits.min_correlation:
        raise PartError(
            "registration",
            f"the part's correlation with its master is {found.correlation:.2f}, below "
            f"{limits.min_correlation:g}: another product, another master or a part far from its place",
        )
    if found.shift_px > limits.max_shift_px:
        raise PartError(
            "registration",
            f"the part lies {found.shift_px:.1f} px off its place, more than {limits.max_shift_px:g}",
        )
    if abs(found.rotation_deg) > limits.max_rotation_deg:
        raise PartError(
            "registration",
            f"the part is turned by {found.rotation_deg:.1f} degrees, more than {limits.max_rotation_deg:g}",
        )
    if limits.max_residual_px is not None and found.residual_px > limits.max_residual_px:
        raise PartError(
            "registration",
            f"a quarter of the part still lies {found.residual_px:.1f} px off its master after registration, "
            f"more than {limits.max_residual_px:.1f}: bent, incomplete or another product",
        )
    if limits.max_difference is not None and found.difference.value > limits.max_difference:
        x, y = found.difference.place.real, found.difference.place.imag
        raise PartError(
            "difference",
            f"round {x:.0f}, {y:.0f} the part differs from its master by {found.difference.value:.2f}, more "
            f"than {limits.max_difference:.2f}: covered, incomplete or another product",
        )
    return found


class Template:
    """What registration computes once from a master, grey `(H, W)` uint8, and needs for every part."""

    def __init__(
        self, master: NDArray[np.uint8], limits: recipe.Register, ignored: NDArray[np.bool_] | None = None
    ) -> None:
        """`ignored`, of any size, is True at the places of the master that must not count for a part's fit."""
        self.shape, self.limits = master.shape, limits
        turning_px = math.sin(math.radians(limits.max_rotation_deg)) * math.hypot(*master.shape) / 4
        shrink = next((by for by in (4, 2) if min(master.shape) >= 128 * by), 1)
        self._sizes = [(master.shape[1] // shrink, master.shape[0] // shrink)]
        while min(self._sizes[-1]) >= 128:
            self._sizes.append((self._sizes[-1][0] // 2, self._sizes[-1][1] // 2))
        copies = self.copies(master)
        self._levels = [
            Level(copy, self.shape, limits.motion, limits.max_shift_px + turning_px, ignored) for copy in copies
        ]
        self._search = _PhaseSearch(copies[0], self.shape, limits.max_shift_px)

    def copies(self, picture: NDArray[np.uint8]) -> list[Floats]:
        """Return float32 copies of a uint8 picture, blurred, with mean 0, in several sizes, largest first."""
        height, width = picture.shape
        copies = []
        # Halving twice takes a sixth of the time of quartering.
        if self._sizes[0][0] < width // 2:
            picture = _shrunk(picture, (width // 2, height // 2))
        for size in self._sizes:
            picture = _shrunk(picture, size)
            blurred = np.asarray(cv2.GaussianBlur(picture, (3, 3), 0.7), np.float32)
            copies.append(blurred - blurred.mean())
        return copies

    def start(self, copies: list[Floats]) -> Pose:
        """Return a first guess of how the part lies. `copies` are the part's reduced copies."""
        return Pose() if self.limits.motion == "none" else self._search.peak(copies[0])

    def fit(self, copies: list[Floats], pose: Pose) -> Registration:
        """Improve the first guess, `pose`, step by step on the part's `copies`. Return how the part lies."""
        for level, copy in zip(reversed(self._levels), reversed(copies), strict=True):
            for _ in range(_MOST_STEPS):
                step = level.step(copy, pose)
                pose = pose.corrected(step.turn, step.shift)
                if step.is_last:
                    break
        return Registration(
            matrix=pose.matrix(self.shape),
            correlation=step.correlation,
            residual_px=level.residual_px(step),
            difference=level.difference(step),
            shift=pose.shift,
            rotation_deg=math.degrees(cmath.phase(pose.turn)),
        )


def _shrunk(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


class _PhaseSearch:
    """Finds how far a picture is shifted against one master, by phase correlation."""

    def __init__(self, picture: Floats, full: tuple[int, ...], reach_px: float) -> None:
        height, width = picture.shape
        self._scale = (full[1] / width, full[0] / height)
        self._window = cv2.createHanningWindow((width, height), cv2.CV_32F)
        self._canvas = np.zeros((cv2.getOptimalDFTSize(height), cv2.getOptimalDFTSize(width)), np.float32)
        spectrum = np.fft.rfft2(self._windowed(picture))
        strength = np.abs(spectrum)
        whitened = np.fft.irfft2(spectrum / (strength + 0.1 * strength.mean() + 1e-9), s=self._canvas.shape)
        self._spectrum = cv2.dft(whitened.astype(np.float32))
        self._reach = tuple(
            max(1, min(math.ceil(reach_px / scale) + 1, size // 2 - 1))
            for scale, size in zip(self._scale, (width, height), strict=True)
        )
        x, y = self._reach
        self._within_reach = np.ix_(np.arange(-y, y + 1), np.arange(-x, x + 1))

    def peak(self, picture: Floats) -> Pose:
        """Return the pose with the best shift and no rotation. `picture` is `(H, W)` float32."""
        product = cv2.mulSpectrums(cv2.dft(self._windowed(picture)), self._spectrum, 0, conjB=True)
        _, _, _, (x, y) = cv2.minMaxLoc(cv2.idft(product)[self._within_reach])
        return Pose(shift=complex((x - self._reach[0]) * self._scale[0], (y - self._reach[1]) * self._scale[1]))

    def _windowed(self, picture: Floats) -> Floats:
        height, width = picture.shape
        np.multiply(picture, self._window, out=self._canvas[:height, :width])
        return self._canvas
