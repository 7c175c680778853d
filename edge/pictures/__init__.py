"""Reads encoded pictures, such as JPEG, PNG and TIFF files. A damaged picture is refused.

Pixels are returned as they are stored. A rotation that EXIF data ask for is never applied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import PictureError
from .jpeg import START as JPEG
from .jpeg import check_jpeg, decode_jpeg
from .png import START as PNG
from .png import check_png
from .tiff import check_tiff

__all__ = ["check_jpeg", "decode", "decode_jpeg", "read"]

_CHECKS = {PNG: check_png, b"II": check_tiff, b"MM": check_tiff}
#: BMP, WebP and PNM: OpenCV itself refuses a file that is cut off.
_UNCHECKED = (b"BM", b"RIFF", b"P4", b"P5", b"P6")


def decode(data: bytes, name: str) -> NDArray[Any]:
    """Return the pixels of an encoded picture, in their stored dtype, as `(H, W)` or `(H, W, C)` BGR or BGRA.

    Raises PictureError, whose text starts with `name`, if the bytes are damaged or are not a picture.
    """
    try:
        return _decoded(data)
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error


def read(path: Path) -> NDArray[Any]:
    """Return the picture in a file as `(H, W)` or `(H, W, C)`. Raises PictureError if that is impossible."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: cannot be read: {error.strerror}") from error
    return decode(data, str(path))


def _decoded(data: bytes) -> NDArray[Any]:
    """Return the pixels as `(H, W)` or `(H, W, C)`, or raise PictureError without the picture's name."""
    if data.startswith(JPEG):
        return decode_jpeg(data)
    check = next((check for start, check in _CHECKS.items() if data.startswith(start)), None)
    if check is None and not data.startswith(_UNCHECKED):
        raise PictureError(
            f"expected a picture (JPEG, PNG, BMP, TIFF, WebP, PGM, PPM), found {len(data)} bytes that are none"
        )
    if check is not None:
        check(data)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PictureError(f"cannot be decoded: {error.err}") from error
    if picture is None:
        raise PictureError(f"expected a picture, found {len(data)} bytes that OpenCV cannot decode")
    return picture
