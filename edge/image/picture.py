"""A picture's channels: grey, BGR, raw, and one read from a file."""

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

_COLOURLESS = 6  # grey levels by which a video codec may part the channels of a grey picture


def one_channel(picture: NDArray[Any]) -> NDArray[Any]:
    """A grey picture that its decoder gave in three channels as the one that it is; others as they are."""
    if picture.ndim != 3 or picture.shape[2] != 3:
        return picture
    blue, green, red = cv2.split(picture)
    colour = max(cv2.norm(green, blue, cv2.NORM_INF), cv2.norm(green, red, cv2.NORM_INF))
    return green if colour <= _COLOURLESS else picture


def demosaiced(raw: Image, bayer: Bayer) -> Image:
    """A raw frame `(H, W)` as `(H, W, 3)` BGR: what a pixel's filter kept out is the mean of its neighbours."""
    return np.asarray(cv2.cvtColor(raw, getattr(cv2, f"COLOR_Bayer{bayer.upper()}2BGR")), np.uint8)


def grey(picture: Image) -> Image:
    """A picture `(H, W)` or `(H, W, 3)` BGR as `(H, W)`."""
    if picture.ndim == 2:
        return picture
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A master or drawing, `(H, W)` grey or `(H, W, 3)` BGR; what is transparent in the file is white.

    RecipeError for what is no such picture.
    """
    try:
        picture = read(path)
    except PictureError as error:
        raise RecipeError(f"{error}: save it anew, as PNG") from error
    if picture.dtype != np.uint8 or (picture.ndim == 3 and picture.shape[2] not in (3, 4)):
        raise RecipeError(
            f"{path}: expected 8 bits a channel, grey or in colours, found {picture.shape} {picture.dtype}: "
            "save it so, as PNG"
        )
    found = np.asarray(picture, np.uint8)
    return _on_white(found) if found.ndim == 3 and found.shape[2] == 4 else found


def _on_white(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(H, W, 4)` BGRA as `(H, W, 3)`."""
    alpha = picture[..., 3:].astype(np.uint16)
    return ((picture[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
