"""Keeps in a checkpoint how a network saw its parts: cut into which tiles, and with which mask."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import cv2
import numpy as np

from edge.manifest import InputSpec
from trt_build.data.parts import Good, ignored_at, whole_of


def view_of(good: Good, spec: InputSpec) -> dict[str, Any]:
    """Return what a checkpoint says of how a network with this input saw its parts.

    `tiles` are columns and rows; left out if a part is one input. `ignored` is the PNG, in base64, of the mask
    of what of a whole picture is not judged; left out if all of it is.
    """
    first = good.fit[0]
    ignored = ignored_at(first, whole_of(first, spec))
    view: dict[str, Any] = {} if first.tiles == (1, 1) else {"tiles": list(first.tiles)}
    if ignored is not None:
        data = cv2.imencode(".png", ignored.astype(np.uint8) * 255)[1].tobytes()
        view["ignored"] = b64encode(data).decode()
    return view


def mask_picture(ignored: str) -> bytes:
    """Return the PNG that a checkpoint holds as `ignored`."""
    return b64decode(ignored)
