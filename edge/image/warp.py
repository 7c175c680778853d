"""Warps a camera's frame into a model's input on the CPU, or makes the arguments with which a GPU does so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..manifest import InputSpec
from ..recipe import Bayer
from .picture import Image, demosaiced, demosaiced_grey, grey

Matrix = NDArray[np.float64]
ToFrame = tuple[float, float, float, float, float, float]
Box = tuple[int, int, int, int]

#: The kernel's numbers for colours. A raw frame is named by its first 2x2 pixels, row by row.
_SOURCES = ("gray", "bgr", "rggb", "grbg", "gbrg", "bggr")
_COLORS = ("gray", "bgr", "rgb")
_BLOCK = (32, 8, 1)
#: A crop that shrinks by more than this factor is averaged first, so that fine traces do not alias.
_AREA_FROM = 1.5
#: Margin around the crop from which a shifted part may still be sampled.
_MARGIN_PX = 64
#: A place computed in float32 is less than this far from the same place computed in float64.
_ASIDE_PX = 1 / 16
#: A warp this close to a whole-pixel shift copies the pixels unchanged.
_EXACT_PX = 0.02
#: The level of pixels that are ignored, in all channels; warp.cu paints the same.
FLAT = 128


@dataclass(frozen=True, kw_only=True)
class Warp:
    """How a frame becomes a model's input.

    `region` is cut out of the frame, and reduced to the size `picture` if that is smaller. `matrix` converts a
    pixel of the input to the place in the result from which the pixel's value is taken.
    """

    frame: tuple[int, ...]  # shape: (H, W) grey or raw, (H, W, 3) BGR
    source: Literal["gray", "bgr", "rggb", "grbg", "gbrg", "bggr"]
    color: Literal["gray", "bgr", "rgb"]  # of the model's input
    input: tuple[int, int]  # height, width
    region: tuple[int, int, int, int]  # x, y, width, height in the frame
    picture: tuple[int, int]  # width, height: those of the region, or less if the region is averaged
    matrix: Matrix  # 2x3, input pixel -> pixel of the picture
    to_frame: ToFrame  # 2x3, input pixel -> frame pixel
    ignored: NDArray[np.bool_] | None = None  # (height, width) of the input: pixels that are painted FLAT

    def apply(self, frame: Image, out: Image, under: Image | None = None) -> None:
        """Warp `frame` on the CPU, and write the model's input into `out` as `(1, C, H, W)` uint8.

        `frame` is uint8 of the shape `self.frame`. Input pixels from outside `region` are taken from `under`,
        the master's input as `(1, C, H, W)` uint8. If `under` is None, the region's edge pixels are repeated. A
        GPU computes the same pixels to within one grey level.
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
        if self.ignored is not None:
            np.copyto(out, np.uint8(FLAT), where=self.ignored)

    @property
    def reads(self) -> Box:
        """The left, top, right and bottom of the frame's pixels that are read; right and bottom are not.

        In a raw frame, these include the neighbours that give the missing colours.
        """
        whole = self._shift() is not None
        right, bottom = self.input[1] - 1, self.input[0] - 1
        spans = []
        for (a, b, start), size, cells in zip(self.matrix.tolist(), self.region[2:], self.picture, strict=True):
            least = start + min(0, a * right) + min(0, b * bottom)
            most = start + max(0, a * right) + max(0, b * bottom)
            # A place between two pixels is read from both. In float32, the place may lie a little aside.
            aside = 0 if whole else _ASIDE_PX
            first, last = math.floor(least - aside), math.floor(most + aside) + (not whole)
            # Places outside are read from the edge, if not from what lies under the picture.
            first, last = (min(max(place, 0), cells - 1) for place in (first, last))
            spans.append((first * size // cells, -(-(last + 1) * size // cells)))
        (left, right), (top, bottom) = spans
        x, y = self.region[:2]
        return self._with_neighbours(x + left, y + top, x + right, y + bottom)

    @property
    def reach(self) -> Box:
        """What `reads` would be if the part lay as far off as it may."""
        x, y, width, height = self.region
        return self._with_neighbours(x, y, x + width, y + height)

    def _with_neighbours(self, left: int, top: int, right: int, bottom: int) -> Box:
        """Return a box of the frame, extended in a raw frame by the pixels that give the missing colours."""
        if self.source == "gray" or self.source == "bgr":
            return left, top, right, bottom
        height, width = self.frame[:2]
        # A pixel at the frame's edge is copied from its inner neighbour, which has neighbours of its own.
        left, right = _inner(left, width) - 1, _inner(right - 1, width) + 2
        top, bottom = _inner(top, height) - 1, _inner(bottom - 1, height) + 2
        return left, top, right, bottom

    def window(self, top: int, left: int, height: int, width: int) -> Warp:
        """Return the warp that makes a window of the input alone. The window is in pixels of the input."""
        shift = np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
        a, b, x, c, d, y = self.to_frame
        ignored = self.ignored
        return replace(
            self,
            input=(height, width),
            matrix=self.matrix @ shift,
            to_frame=(a, b, a * left + b * top + x, c, d, c * left + d * top + y),
            ignored=None if ignored is None else ignored[top : top + height, left : left + width],
        )

    @property
    def block(self) -> tuple[int, int, int]:
        """The number of threads in one block of the GPU's kernel, along x, y and z."""
        return _BLOCK

    @property
    def grid(self) -> tuple[int, int, int]:
        """The number of blocks of the GPU's kernel along x, y and z. Each pixel of the input has one thread."""
        height, width = self.input
        return (-(-width // _BLOCK[0]), -(-height // _BLOCK[1]), 1)

    def arguments(self, pitch: int | None = None) -> tuple[np.int32 | np.float32, ...]:
        """Return the arguments of the kernel that follow its pointers `frame`, `under`, `ignored` and `out`.

        `pitch` is the number of bytes from one row of the frame to the next; None if there are no gaps.
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
        """Convert a picture, `(H, W)` or `(H, W, 3)` BGR, to grey if the model needs grey.

        Otherwise put its colours in the model's order. A grey picture stays `(H, W)` in any case.
        """
        if self.color == "gray":
            return grey(picture)
        return picture[..., ::-1] if self.color == "rgb" and picture.ndim == 3 else picture

    def _shift(self) -> tuple[int, int] | None:
        """Return the shift (x, y) if the matrix only shifts, and by whole pixels. Otherwise return None."""
        (a, b, x), (c, d, y) = self.matrix.tolist()
        whole = (a, b, c, d) == (1, 0, 0, 1) and x.is_integer() and y.is_integer()
        return (int(x), int(y)) if whole else None


class Warper:
    """Computes how frames are warped into the input of one model.

    `crop` is x, y, width, height in the frame; None if the whole frame is taken. `bayer` is the pattern of
    colours of raw frames `(H, W)`; None if frames `(H, W)` are grey. `ignored` is True at the pixels of the
    input that are painted with one flat value after the warp, so that the model cannot see what is there.
    """

    def __init__(
        self,
        crop: tuple[int, int, int, int] | None,
        spec: InputSpec,
        bayer: Bayer | None = None,
        ignored: NDArray[np.bool_] | None = None,
    ) -> None:
        self._crop, self._spec, self._bayer, self._ignored = crop, spec, bayer, ignored
        self.shape = spec.shape

    def crop(self, frame: Image) -> Image:
        """Return the crop of a frame, `(H, W)` or `(H, W, 3)` uint8, without copying its pixels."""
        if self._crop is None:
            return frame
        x, y, width, height = self._crop
        return frame[y : y + height, x : x + width]

    def shown(self, frame: Image) -> Image:
        """Return the crop of a frame as a picture: that of a raw frame in grey, `(h, w)` uint8.

        Of a raw frame, nothing but the crop is demosaiced. The crop of another frame is not copied.
        """
        if self._bayer is None or frame.ndim == 3:
            return self.crop(frame)
        x, y, width, height = self._crop_in(frame.shape)
        # The crop and the neighbours that give its missing colours, from an even pixel on, as the pattern is.
        left, top = max(0, x - 2) // 2 * 2, max(0, y - 2) // 2 * 2
        around = demosaiced_grey(frame[top : y + height + 2, left : x + width + 2], self._bayer)
        return around[y - top : y - top + height, x - left : x - left + width]

    def colours(self, frame: Image) -> Image:
        """Convert a raw frame, `(H, W)` uint8, to `(H, W, 3)` BGR uint8. Return any other frame unchanged."""
        return demosaiced(frame, self._bayer) if self._bayer and frame.ndim == 2 else frame

    def warp(self, frame: tuple[int, ...], pose: Matrix | None = None) -> Warp:
        """Return how a frame of shape `frame` is warped into the input.

        `pose` is a `(2, 3)` matrix from pixels of the master's crop to pixels of the part's crop; None if the
        part lies like its master.
        """
        x, y, width, height = self._crop_in(frame)
        to_crop = _scaling(width / self._spec.width, height / self._spec.height)
        if pose is not None:
            to_crop = np.vstack([pose, (0, 0, 1)]) @ to_crop
        (a, b, right_px), (c, d, down_px) = to_crop[:2].tolist()
        return self.warp_by(frame, (a, b, right_px + x, c, d, down_px + y))

    def warp_by(self, frame: tuple[int, ...], to_frame: Sequence[float]) -> Warp:
        """Return the warp of a frame of shape `frame` by the 2x3 matrix `to_frame`, input to frame pixels."""
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
            ignored=self._ignored,
        )

    def _crop_in(self, frame: tuple[int, ...]) -> tuple[int, int, int, int]:
        return self._crop or (0, 0, frame[1], frame[0])


def _scaling(x: float, y: float) -> Matrix:
    """Return the `(3, 3)` matrix from pixels of a picture to pixels of its copy, scaled by `x` and `y`."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _inner(place: int, side: int) -> int:
    """Return the place, or the nearest one that does not lie at either end of a side of `side` pixels."""
    return min(max(place, 1), side - 2)


def _whole(matrix: Matrix, shape: tuple[int, int]) -> Matrix:
    """Return the `(2, 3)` matrix or, if it is nearly a shift by whole pixels, that of exactly this shift."""
    right, bottom = shape[1] - 1, shape[0] - 1
    (a, b, x), (c, d, y) = matrix.tolist()
    dx = round(x + ((a - 1) * right + b * bottom) / 2)
    dy = round(y + (c * right + (d - 1) * bottom) / 2)
    corners = [(i, j) for i in (0, right) for j in (0, bottom)]
    off = max(max(abs((a - 1) * i + b * j + x - dx), abs(c * i + (d - 1) * j + y - dy)) for i, j in corners)
    return np.array([[1.0, 0, dx], [0, 1, dy]]) if off < _EXACT_PX else matrix


def _copied(picture: Image, shift: tuple[int, int], plane: Image, behind: Image | None) -> bool:
    """Copy a picture `(H, W)` uint8 to a plane: `plane[y, x] = picture[y + shift y, x + shift x]`.

    Pixels that the picture does not cover come from `behind`. Return False if there are any and it is None.
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
