"""Warps a camera's frame into a model's input: on the host, or as arguments for the CUDA kernel in warp.cu."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..manifest import InputSpec
from ..recipe import Bayer
from .picture import Image, demosaiced, grey

Matrix = NDArray[np.float64]
ToFrame = tuple[float, float, float, float, float, float]

#: The kernel's numbers for colours. A raw frame is named by its first 2x2 pixels, row by row.
_SOURCES = ("gray", "bgr", "rggb", "grbg", "gbrg", "bggr")
_COLORS = ("gray", "bgr", "rgb")
_BLOCK = (32, 8, 1)
#: A crop that shrinks by more than this factor is averaged first, so that fine traces do not alias.
_AREA_FROM = 1.5
#: Margin around the crop from which a shifted part may still be sampled.
_MARGIN_PX = 64
#: A warp this close to a whole-pixel shift copies the pixels unchanged.
_EXACT_PX = 0.02


@dataclass(frozen=True, kw_only=True)
class Warp:
    """One warp: a region of the frame is cut out, averaged to `picture`, and sampled by `matrix`."""

    frame: tuple[int, ...]  # shape: (H, W) grey or raw, (H, W, 3) BGR
    source: Literal["gray", "bgr", "rggb", "grbg", "gbrg", "bggr"]
    color: Literal["gray", "bgr", "rgb"]  # of the model's input
    input: tuple[int, int]  # height, width
    region: tuple[int, int, int, int]  # x, y, width, height in the frame
    picture: tuple[int, int]  # width, height: those of the region, or less where it is averaged
    matrix: Matrix  # 2x3, input pixel -> pixel of the picture
    to_frame: ToFrame  # 2x3, input pixel -> frame pixel

    def apply(self, frame: Image, out: Image, under: Image | None = None) -> None:
        """Write the warped frame into `out`, `(1, C, H, W)` uint8, on the host.

        `frame` is uint8 of the shape `self.frame`. Where it does not cover the input, `under` shows: the
        master's input, `(1, C, H, W)` uint8. Without `under` the frame's edge pixels are repeated. The CUDA
        kernel gives the same pixels to within one grey level.
        """
        if self.source != "gray" and self.source != "bgr":
            frame = demosaiced(frame, self.source)
        x, y, width, height = self.region
        picture = self._in_channels(frame[y : y + height, x : x + width])
        if self.picture != (width, height):
            picture = np.asarray(cv2.resize(picture, self.picture, interpolation=cv2.INTER_AREA), np.uint8)
        shift = self._shift()
        for channel, plane in enumerate(out[0]):
            if channel and picture.ndim == 2:
                plane[:] = out[0, 0]
                continue
            source = picture if picture.ndim == 2 else picture[..., channel]
            behind = None if under is None else under[0, channel]
            if shift is not None and _copied(source, shift, plane, behind):
                continue
            if behind is not None:
                plane[:] = behind
            border = cv2.BORDER_REPLICATE if behind is None else cv2.BORDER_TRANSPARENT
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            cv2.warpAffine(source, self.matrix, plane.shape[::-1], dst=plane, flags=flags, borderMode=border)

    @property
    def block(self) -> tuple[int, int, int]:
        """Threads in one block of the kernel."""
        return _BLOCK

    @property
    def grid(self) -> tuple[int, int, int]:
        """Blocks of the kernel: one thread for each pixel of the input."""
        height, width = self.input
        return (-(-width // _BLOCK[0]), -(-height // _BLOCK[1]), 1)

    def arguments(self, pitch: int | None = None) -> tuple[np.int32 | np.float32, ...]:
        """Return the kernel's arguments after its pointers `frame`, `under` (0: none) and `out`.

        `pitch` is the number of bytes from row to row of the frame; None where rows follow one another.
        """
        height, width = self.frame[:2]
        left, top, *size = self.region
        spans = []
        for span, cells in zip(size, self.picture, strict=True):
            common = math.gcd(span, cells)
            spans += [span // common, cells // common]
        row = width * math.prod(self.frame[2:])
        kind = _SOURCES.index(self.source)
        where = (row if pitch is None else pitch, width, height, kind, left, top, *self.picture, *spans)
        last = (*self.input[::-1], _COLORS.index(self.color))
        return (*map(np.int32, where), *map(np.float32, self.matrix.ravel()), *map(np.int32, last))

    def _in_channels(self, picture: Image) -> Image:
        """Return a picture `(H, W)` or `(H, W, 3)` BGR in grey or in the model's order of channels.

        A grey picture stays `(H, W)`, also for a model in colour.
        """
        if self.color == "gray":
            return grey(picture)
        return picture[..., ::-1] if self.color == "rgb" and picture.ndim == 3 else picture

    def _shift(self) -> tuple[int, int] | None:
        """Return the shift x, y if the matrix shifts by whole pixels and does nothing else."""
        (a, b, x), (c, d, y) = self.matrix.tolist()
        whole = (a, b, c, d) == (1, 0, 0, 1) and x.is_integer() and y.is_integer()
        return (int(x), int(y)) if whole else None


class Warper:
    """Makes the warps from frames into one model's input.

    `crop` is x, y, width, height in the frame; None: the whole frame. `bayer` says how a frame `(H, W)` is raw;
    None: it is grey.
    """

    def __init__(
        self, crop: tuple[int, int, int, int] | None, spec: InputSpec, bayer: Bayer | None = None
    ) -> None:
        self._crop, self._spec, self._bayer = crop, spec, bayer
        self.shape = spec.shape

    def crop(self, frame: Image) -> Image:
        """Return the crop of a frame `(H, W)` or `(H, W, 3)` uint8, as a view."""
        if self._crop is None:
            return frame
        x, y, width, height = self._crop
        return frame[y : y + height, x : x + width]

    def colours(self, frame: Image) -> Image:
        """Return a raw frame `(H, W)` uint8 as `(H, W, 3)` BGR, any other frame unchanged."""
        return demosaiced(frame, self._bayer) if self._bayer and frame.ndim == 2 else frame

    def warp(self, frame: tuple[int, ...], pose: Matrix | None = None) -> Warp:
        """Return the warp for a frame of that shape.

        `pose` is 2x3, crop pixel of the master -> crop pixel of the part; None: the part lies like its master.
        """
        x, y, width, height = self._crop_in(frame)
        to_crop = _scaling(width / self._spec.width, height / self._spec.height)
        if pose is not None:
            to_crop = np.vstack([pose, (0, 0, 1)]) @ to_crop
        (a, b, right_px), (c, d, down_px) = to_crop[:2].tolist()
        return self.warp_by(frame, (a, b, right_px + x, c, d, down_px + y))

    def warp_by(self, frame: tuple[int, ...], to_frame: Sequence[float]) -> Warp:
        """Return the warp for a frame of that shape by its transform: 2x3, input pixel -> frame pixel."""
        x, y, w, h = self._crop_in(frame)
        input_ = (self._spec.height, self._spec.width)
        if max(w / input_[1], h / input_[0]) > _AREA_FROM:
            region, picture = (x, y, w, h), (min(w, input_[1]), min(h, input_[0]))
        else:
            # A part that left the crop may still lie in the frame.
            left, top = max(0, x - _MARGIN_PX), max(0, y - _MARGIN_PX)
            right, bottom = min(frame[1], x + w + _MARGIN_PX), min(frame[0], y + h + _MARGIN_PX)
            region, picture = (left, top, right - left, bottom - top), (right - left, bottom - top)
        a, b, right_px, c, d, down_px = to_frame
        to_region = np.array([[a, b, right_px - region[0]], [c, d, down_px - region[1]], [0, 0, 1]])
        to_region_of_picture = _scaling(region[2] / picture[0], region[3] / picture[1])
        return Warp(
            frame=frame,
            source="bgr" if len(frame) == 3 else self._bayer or "gray",
            color=self._spec.color,
            input=input_,
            region=region,
            picture=picture,
            matrix=_whole((np.linalg.inv(to_region_of_picture) @ to_region)[:2], input_),
            to_frame=(a, b, right_px, c, d, down_px),
        )

    def _crop_in(self, frame: tuple[int, ...]) -> tuple[int, int, int, int]:
        return self._crop or (0, 0, frame[1], frame[0])


def _scaling(x: float, y: float) -> Matrix:
    """Return 3x3, pixel of a picture -> pixel of one `x` times as wide and `y` times as high."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _whole(matrix: Matrix, shape: tuple[int, int]) -> Matrix:
    """Return the 2x3 matrix or, where it is nearly one, the shift by whole pixels."""
    right, bottom = shape[1] - 1, shape[0] - 1
    (a, b, x), (c, d, y) = matrix.tolist()
    dx = round(x + ((a - 1) * right + b * bottom) / 2)
    dy = round(y + (c * right + (d - 1) * bottom) / 2)
    corners = [(i, j) for i in (0, right) for j in (0, bottom)]
    off = max(max(abs((a - 1) * i + b * j + x - dx), abs(c * i + (d - 1) * j + y - dy)) for i, j in corners)
    return np.array([[1.0, 0, dx], [0, 1, dy]]) if off < _EXACT_PX else matrix


def _copied(picture: Image, shift: tuple[int, int], plane: Image, behind: Image | None) -> bool:
    """Copy a plane `(H, W)` uint8 by whole pixels; False where the picture ends and nothing is behind it.

    `plane[y, x] = picture[y + shift y, x + shift x]`, and `behind[y, x]` where the picture ends.
    """
    (dx, dy), (height, width) = shift, plane.shape
    x1, y1 = max(0, -dx), max(0, -dy)
    x2, y2 = max(x1, min(width, picture.shape[1] - dx)), max(y1, min(height, picture.shape[0] - dy))
    if (x1, y1, x2, y2) != (0, 0, width, height):
        if behind is None:
            return False
        plane[:] = behind
    plane[y1:y2, x1:x2] = picture[y1 + dy : y2 + dy, x1 + dx : x2 + dx]
    return True
