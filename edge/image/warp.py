"""Lays a frame, or the part of it that matters, into the model's input by one crop, warp and resize."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..manifest import InputSpec
from ..recipe import Bayer
from .kernel import Laying
from .picture import Image, demosaiced, grey
from .placement import ToFrame

_AREA_FROM = 1.5  # shrinking by more than this averages, so that fine traces do not alias
_ROOM_PX = 64  # so far beyond the crop the frame is looked at, if it is there
_EXACT_PX = 0.02  # a warp that is nearer than this to a whole shift copies pixels as they are


class Resampler:
    """Knows the crop (x, y, width, height; else the whole frame), the model's input, and how frames are raw."""

    def __init__(
        self, crop: tuple[int, int, int, int] | None, spec: InputSpec, bayer: Bayer | None = None
    ) -> None:
        self._crop, self._spec, self._bayer = crop, spec, bayer

    def crop(self, frame: Image) -> Image:
        """What matters of a frame, as a view on it."""
        if self._crop is None:
            return frame
        x, y, width, height = self._crop
        return frame[y : y + height, x : x + width]

    def colours(self, frame: Image) -> Image:
        """A raw frame `(H, W)` as `(H, W, 3)` BGR; any other as it is."""
        return demosaiced(frame, self._bayer) if self._bayer and frame.ndim == 2 else frame

    def laying(self, frame: tuple[int, ...], pose: NDArray[np.float64] | None = None) -> Laying:
        """Where the pixels of the input come from, for a frame of that shape; `pose` as for `lay`."""
        x, y, w, h = self._crop or (0, 0, frame[1], frame[0])
        height, width = self._spec.height, self._spec.width
        to_crop = _scaling(w / width, h / height)
        warp = to_crop if pose is None else np.vstack([pose, (0, 0, 1)]) @ to_crop
        if max(w / width, h / height) > _AREA_FROM:
            region, picture = (x, y, w, h), (min(w, width), min(h, height))
            to_picture = np.linalg.inv(_scaling(w / picture[0], h / picture[1])) @ warp
        else:  # a part that left the crop may still lie in the frame
            left, top = max(0, x - _ROOM_PX), max(0, y - _ROOM_PX)
            right, bottom = min(frame[1], x + w + _ROOM_PX), min(frame[0], y + h + _ROOM_PX)
            region, picture = (left, top, right - left, bottom - top), (right - left, bottom - top)
            to_picture = warp + np.array([[0, 0, x - left], [0, 0, y - top], [0, 0, 0]])
        (a, b, right_px), (c, d, down_px) = warp[:2].tolist()
        return Laying(
            frame=frame,
            source="bgr" if len(frame) == 3 else self._bayer or "gray",
            color=self._spec.color,
            input=(height, width),
            region=region,
            picture=picture,
            warp=_whole(to_picture[:2], (height, width)),
            to_frame=(a, b, right_px + x, c, d, down_px + y),
        )

    def lay(
        self, frame: Image, out: Image, pose: NDArray[np.float64] | None = None, under: Image | None = None
    ) -> ToFrame:
        """Write the crop into `out` `(1, C, H, W)` uint8 and return 2x3, input pixel -> frame pixel.

        `pose` is 2x3, crop pixel of the master -> crop pixel of the part. Where the frame does not cover
        the master, `under` shows: the master laid out likewise; else the frame goes on as its rim. The kernel
        `lay` (kernels/lay.cu) does the same.
        """
        frame = self.colours(frame)
        laying = self.laying(frame.shape, pose)
        x, y, w, h = laying.region
        picture = self._in_channels(frame[y : y + h, x : x + w])
        if laying.picture != (w, h):
            picture = np.asarray(cv2.resize(picture, laying.picture, interpolation=cv2.INTER_AREA), np.uint8)
        _warp(picture, laying, out, under)
        return laying.to_frame

    def _in_channels(self, picture: Image) -> Image:
        """Grey, or the channels in the model's order; a grey picture goes into each of its planes alike."""
        if self._spec.color == "gray":
            return grey(picture)
        return picture[..., ::-1] if self._spec.color == "rgb" and picture.ndim == 3 else picture


def _scaling(x: float, y: float) -> NDArray[np.float64]:
    """3x3, pixel of a smaller picture -> pixel of one that is so many times as wide and high."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _whole(warp: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """The warp or, if it nearly is one, the shift by whole pixels."""
    right, bottom = shape[1] - 1, shape[0] - 1
    (a, b, x), (c, d, y) = warp.tolist()
    dx = round(x + ((a - 1) * right + b * bottom) / 2)
    dy = round(y + (c * right + (d - 1) * bottom) / 2)
    corners = [(i, j) for i in (0, right) for j in (0, bottom)]
    off = max(max(abs((a - 1) * i + b * j + x - dx), abs(c * i + (d - 1) * j + y - dy)) for i, j in corners)
    return np.array([[1.0, 0, dx], [0, 1, dy]]) if off < _EXACT_PX else warp


def _warp(picture: Image, laying: Laying, out: Image, under: Image | None) -> None:
    shift = laying.shift
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
        cv2.warpAffine(source, laying.warp, plane.shape[::-1], dst=plane, flags=flags, borderMode=border)


def _copied(picture: Image, shift: tuple[int, int], plane: Image, behind: Image | None) -> bool:
    """Copy `plane[y, x] = picture[y + shift y, x + shift x]`, if it is known what lies beyond the picture."""
    (dx, dy), (height, width) = shift, plane.shape
    x1, y1 = max(0, -dx), max(0, -dy)
    x2, y2 = max(x1, min(width, picture.shape[1] - dx)), max(y1, min(height, picture.shape[0] - dy))
    if (x1, y1, x2, y2) != (0, 0, width, height):
        if behind is None:
            return False
        plane[:] = behind
    plane[y1:y2, x1:x2] = picture[y1 + dy : y2 + dy, x1 + dx : x2 + dx]
    return True
