"""Converts raw, colour and grey pictures, and reads masters and drawings from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import PictureError, RecipeError
from ..pictures import read
from ..recipe import Bayer

Image = NDArray[np.uint8]

#: A video codec may make the channels of a grey picture differ by this many grey levels.
_COLOURLESS = 6


def one_channel(picture: NDArray[Any]) -> NDArray[Any]:
    """Return the green channel if a picture's three channels are nearly equal, otherwise the whole picture."""
    if picture.ndim != 3 or picture.shape[2] != 3:
        return picture
    blue, green, red = cv2.split(picture)
    colour = max(cv2.norm(green, blue, cv2.NORM_INF), cv2.norm(green, red, cv2.NORM_INF))
    return green if colour <= _COLOURLESS else picture


def demosaiced(raw: Image, bayer: Bayer) -> Image:
    """Convert a raw frame `(H, W)` to `(H, W, 3)` BGR uint8. Missing colours are means of the neighbours."""
    return np.asarray(cv2.cvtColor(raw, getattr(cv2, f"COLOR_Bayer{bayer.upper()}2BGR")), np.uint8)


def demosaiced_grey(raw: Image, bayer: Bayer) -> Image:
    """Convert a raw frame `(H, W)` to `(H, W)` grey uint8: to `grey` of `demosaiced`, to within one level."""
    return np.asarray(cv2.cvtColor(raw, getattr(cv2, f"COLOR_Bayer{bayer.upper()}2GRAY")), np.uint8)


def grey(picture: Image) -> Image:
    """Convert a picture, `(H, W)` grey or `(H, W, 3)` BGR uint8, to grey. Return it as `(H, W)` uint8."""
    if picture.ndim == 2:
        return picture
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a master or drawing as `(H, W)` grey or `(H, W, 3)` BGR uint8. Put a transparent one on white.

    Raise RecipeError if the file holds no picture with 8 bits a channel.
    """
    try:
        picture = read(path)
    except PictureError as error:
        raise RecipeError(f"{error}: save it again, as PNG") from error
    if picture.dtype != np.uint8 or (picture.ndim == 3 and picture.shape[2] not in (3, 4)):
        raise RecipeError(
            f"{path}: expected 8 bits a channel, grey or in colours, found {picture.shape} {picture.dtype}: "
            "save it so, as PNG"
        )
    found = np.asarray(picture, np.uint8)
    return _on_white(found) if found.ndim == 3 and found.shape[2] == 4 else found


def _on_white(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a partly transparent picture, `(H, W, 4)` BGRA uint8, on white. Return `(H, W, 3)` BGR uint8."""
    alpha = picture[..., 3:].astype(np.uint16)
    return ((picture[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
