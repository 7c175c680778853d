"""Where each pixel of a model's input comes from in a frame, for the host and for the kernel `lay` alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ToFrame = tuple[float, float, float, float, float, float]
#: A frame's colours, as the kernel counts them; a raw one is named by its first 2x2 pixels, rows first.
_SOURCES = ("gray", "bgr", "rggb", "grbg", "gbrg", "bggr")
_COLORS = ("gray", "bgr", "rgb")
_BLOCK = (32, 8, 1)


@dataclass(frozen=True, kw_only=True)
class Laying:
    """A region of the frame becomes a picture, and the picture is warped into the model's input."""

    frame: tuple[int, ...]  # shape: (H, W) grey or raw, (H, W, 3) BGR
    source: Literal["gray", "bgr", "rggb", "grbg", "gbrg", "bggr"]
    color: Literal["gray", "bgr", "rgb"]  # of the model
    input: tuple[int, int]  # height, width
    region: tuple[int, int, int, int]  # x, y, width, height in the frame
    picture: tuple[int, int]  # width, height: the region's or, where it is averaged, less
    warp: NDArray[np.float64]  # 2x3, pixel of the input -> pixel of the picture
    to_frame: ToFrame  # 2x3, pixel of the input -> pixel of the frame

    @property
    def shift(self) -> tuple[int, int] | None:
        """The shift x, y by whole pixels, if that is all that the warp is."""
        (a, b, x), (c, d, y) = self.warp.tolist()
        whole = (a, b, c, d) == (1, 0, 0, 1) and x.is_integer() and y.is_integer()
        return (int(x), int(y)) if whole else None

    @property
    def block(self) -> tuple[int, int, int]:
        """Threads of one block of the kernel."""
        return _BLOCK

    @property
    def grid(self) -> tuple[int, int, int]:
        """Blocks of the kernel, a thread for each pixel of the input."""
        height, width = self.input
        return (-(-width // _BLOCK[0]), -(-height // _BLOCK[1]), 1)

    def arguments(self, pitch: int | None = None) -> tuple[np.int32 | np.float32, ...]:
        """What the kernel takes behind its pointers `frame`, `under` (0 where there is none) and `out`.

        `pitch` is the bytes from row to row of the frame, if they do not follow one another.
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
        return (*map(np.int32, where), *map(np.float32, self.warp.ravel()), *map(np.int32, last))
