"""Which files of a data set are pictures; none is left out without a word."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

#: Endings of what has to be a picture; with any other ending a file is one if OpenCV finds one in it.
PICTURES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp")
NAMED = 10  # files in one warning

log = logging.getLogger(__name__)


def save(path: Path, picture: NDArray[np.uint8], *told: int) -> None:
    """Write a picture as PNG; OSError where the disk does not take it, which OpenCV itself does not tell."""
    path.write_bytes(cv2.imencode(".png", picture, told)[1].tobytes())


def seen(folder: Path) -> list[Path]:
    """What a folder holds, by name, without hidden files; nothing where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def is_picture(path: Path) -> bool:
    """Whether a file has to be read as a picture."""
    return path.is_file() and (path.suffix.lower() in PICTURES or cv2.haveImageReader(str(path)))


def deeper(folder: Path) -> Iterator[str]:
    """What is wrong where pictures lie below the folder in which they are looked for."""
    for inner in seen(folder):
        count = sum(path.is_file() for path in inner.rglob("*")) if inner.is_dir() else 0
        if count:
            yield (
                f"{inner}: a folder with {count} file{'s' * (count > 1)}, where pictures are looked for in "
                f"{folder} alone: move them up, or the folder out of the data"
            )


def warn_left_out(paths: Sequence[Path], why: str) -> None:
    """Name what is not read."""
    if paths:
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        log.warning("left out, %s: %s%s", why, ", ".join(map(str, paths[:NAMED])), more)
