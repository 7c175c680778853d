"""Keeps in a checkpoint the mask of what is not judged, because the network learned its parts with the mask."""

from __future__ import annotations

from base64 import b64decode, b64encode

import cv2
import numpy as np

from edge.manifest import InputSpec
from trt_build.data.parts import Good, ignored_at


def learned_mask(good: Good, spec: InputSpec) -> dict[str, str]:
    """Return what a checkpoint says of the parts' mask: as `ignored`, its PNG at the input's size in base64.

    The dict is empty if the folder of parts has no mask.
    """
    ignored = ignored_at(good.fit[0], spec)
    if ignored is None:
        return {}
    data = cv2.imencode(".png", ignored.astype(np.uint8) * 255)[1].tobytes()
    return {"ignored": b64encode(data).decode()}


def mask_picture(ignored: str) -> bytes:
    """Return the PNG that a checkpoint holds as `ignored`."""
    return b64decode(ignored)
