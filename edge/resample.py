"""Lays a frame, or the part of it that matters, into the model's input by one crop, warp and resize."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .manifest import InputSpec

Image = NDArray[np.uint8]
ToFrame = tuple[float, float, float, float, float, float]

_AREA_FROM = 1.5  # shrinking by more than this averages, so that fine traces do not alias
_ROOM_PX = 64  # so far beyond the crop the frame is looked at, if it is there
_EXACT_PX = 0.02  # a warp that is nearer than this to a whole shift copies pixels as they are


class Resampler:
    """Knows the crop (x, y, width, height; else the whole frame) and the model's input."""

    def __init__(self, crop: tuple[int, int, int, int] | None, spec: InputSpec) -> None:
        self._crop, self._spec = crop, spec

    def crop(self, frame: Image) -> Image:
        """What matters of a frame, as a view on it."""
        if self._crop is None:
            return frame
        x, y, width, height = self._crop
        return frame[y : y + height, x : x + width]

    def lay(
        self, frame: Image, out: Image, pose: NDArray[np.float64] | None = None, under: Image | None = None
    ) -> ToFrame:
        """Write the crop into `out` `(1, C, H, W)` uint8 and return 2x3, input pixel -> frame pixel.

        `pose` is 2x3, crop pixel of the master -> crop pixel of the part. Where the frame does not cover
        the master, `under` shows: the master laid out likewise.
        """
        x, y, w, h = self._crop or (0, 0, frame.shape[1], frame.shape[0])
        height, width = out.shape[2:]
        sx, sy = w / width, h / height
        to_crop = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        warp = to_crop if pose is None else np.vstack([pose, (0, 0, 1)]) @ to_crop
        if max(sx, sy) > _AREA_FROM:
            crop = self._in_channels(self.crop(frame))
            picture = np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            to_picture = np.linalg.inv(to_crop) @ warp
        else:  # a part that left the crop may still lie in the frame
            left, top = max(0, x - _ROOM_PX), max(0, y - _ROOM_PX)
            picture = self._in_channels(frame[top : y + h + _ROOM_PX, left : x + w + _ROOM_PX])
            to_picture = warp + np.array([[0, 0, x - left], [0, 0, y - top], [0, 0, 0]])
        self._warp(picture, to_picture[:2], out, under)
        (a, b, right), (c, d, down) = warp[:2].tolist()
        return a, b, right + x, c, d, down + y

    def _in_channels(self, picture: Image) -> Image:
        """Grey, or the channels in the model's order; a grey picture goes into each of its planes alike."""
        if self._spec.color == "gray":
            return grey(picture)
        return picture[..., ::-1] if self._spec.color == "rgb" and picture.ndim == 3 else picture

    def _warp(self, picture: Image, warp: NDArray[np.float64], out: Image, under: Image | None) -> None:
        shift = _whole_shift(warp, out.shape[2:])
        for channel, plane in enumerate(out[0]):
            if channel and picture.ndim == 2:
                plane[:] = out[0, 0]
                continue
            source = picture if picture.ndim == 2 else picture[..., channel]
            behind = None if under is None else under[0, channel]
            if shift is not None:
                _copy(source, shift, plane, behind)
                continue
            if behind is not None:
                plane[:] = behind
            border = cv2.BORDER_REPLICATE if behind is None else cv2.BORDER_TRANSPARENT
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            cv2.warpAffine(source, warp, plane.shape[::-1], dst=plane, flags=flags, borderMode=border)


def grey(picture: Image) -> Image:
    """A picture `(H, W)` or `(H, W, 3)` BGR as `(H, W)`."""
    if picture.ndim == 2:
        return picture
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def _whole_shift(warp: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The shift x, y that the warp is, if it is one by whole pixels."""
    shift = np.round(warp[:, 2] + (warp[:, :2] - np.eye(2)) @ (np.array(shape[::-1]) - 1) / 2)
    corners = np.array([(x, y, 1) for x in (0, shape[1] - 1) for y in (0, shape[0] - 1)], float)
    off = corners @ warp.T - corners[:, :2] - shift
    return (int(shift[0]), int(shift[1])) if np.abs(off).max() < _EXACT_PX else None


def _copy(picture: Image, shift: tuple[int, int], plane: Image, behind: Image | None) -> None:
    """Copy pixels as they are, `plane[y, x] = picture[y + shift y, x + shift x]`, where there are such."""
    (dx, dy), (height, width) = shift, plane.shape
    x1, x2 = max(0, -dx), max(0, min(width, picture.shape[1] - dx))
    y1, y2 = max(0, -dy), max(0, min(height, picture.shape[0] - dy))
    covered = x1 == 0 and y1 == 0 and (x2, y2) == (width, height)
    if not covered:
        plane[:] = behind if behind is not None else 0
    plane[y1:y2, x1:x2] = picture[y1 + dy : y2 + dy, x1 + dx : x2 + dx]
