"""Refuses a TIFF that asks to be rotated, as OpenCV would rotate it. OpenCV itself refuses missing pixels."""

from __future__ import annotations

import struct

from ..errors import PictureError

_ORIENTATION = 274


def check_tiff(data: bytes) -> None:
    """Raise PictureError if a TIFF asks to be rotated, is a BigTIFF, or has a directory that is cut off."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        version, at = struct.unpack_from(order + "HI", data, 2)
        if version != 42:
            raise PictureError("expected a classic TIFF, found a BigTIFF: save it anew")
        (count,) = struct.unpack_from(order + "H", data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", data, entry)
            if tag == _ORIENTATION and value != 1:
                raise PictureError(f"expected a TIFF that is not to be turned, found orientation {value}")
    except struct.error as error:
        raise PictureError(
            f"the TIFF is truncated: it ends after {len(data)} bytes in its directory"
        ) from error
