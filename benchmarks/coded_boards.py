"""Renders boards and encodes them as JPEG or PNG, for the benchmarks of damage."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import recipe
from edge.render.board import design
from edge.sources.synthetic import render

Image = NDArray[np.uint8]
FORMATS: dict[str, tuple[str, list[int]]] = {
    "jpeg": (".jpg", []),
    "jpeg with restart intervals": (".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 16]),
    "jpeg, progressive": (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "png": (".png", []),
}


def board(sequence: int, height: int = 640, width: int = 640, color: str = "gray") -> Image:
    """Return a rendered board of the first design, `(H, W)` or `(H, W, 3)` BGR uint8, slightly out of place."""
    section = recipe.Synthetic(height=height, width=width, color=color)  # type: ignore[arg-type]
    return render(section, design(0, height, width), sequence)[0]


def coded(picture: Image, kind: str) -> bytes:
    """Return the picture, `(H, W)` or `(H, W, 3)` BGR uint8, encoded as one of FORMATS."""
    ending, options = FORMATS[kind]
    return cv2.imencode(ending, picture, options)[1].tobytes()
