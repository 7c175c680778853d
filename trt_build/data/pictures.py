"""Finds, reads and writes the pictures of a data set. Files that are ignored are named in a warning."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import PictureError
from edge.pictures import read
from trt_build.data.errors import DatasetError

#: A file with one of these endings must be a picture. Any other file is a picture if OpenCV can read it.
PICTURES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp")
#: Highest number of files that a warning names.
NAMED = 10

log = logging.getLogger(__name__)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return a picture as `(H, W)` grey or `(H, W, 3)` BGR, uint8, decoded in the same way as on the line.

    Raise DatasetError if the file is damaged, not a picture, neither grey nor BGR, or has more than 8 bits.
    """
    try:
        found = read(path)
    except PictureError as error:
        raise DatasetError(f"{error}: save it anew, or take it out") from error
    if found.dtype != np.uint8 or (found.ndim == 3 and found.shape[2] != 3):
        raise DatasetError(
            f"{path}: expected 8 bits a channel, grey or three colours, found {found.shape} {found.dtype}: "
            "save it so"
        )
    return found


def save(path: Path, picture: NDArray[np.uint8], *options: int) -> None:
    """Write a picture, `(H, W)` or `(H, W, 3)` BGR uint8, as PNG. `options` are those of `cv2.imencode`.

    Raise OSError if the file cannot be written. `cv2.imwrite` is not used because it would only return False.
    """
    path.write_bytes(cv2.imencode(".png", picture, options)[1].tobytes())


def entries(folder: Path) -> list[Path]:
    """Return the paths in a folder, sorted, without hidden ones. Return an empty list if there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def is_picture(path: Path) -> bool:
    """Return True if `path` is a file with a picture's ending or a file that OpenCV can read."""
    return path.is_file() and (path.suffix.lower() in PICTURES or cv2.haveImageReader(str(path)))


def nested_files(folder: Path) -> Iterator[str]:
    """Yield a message for each inner folder with files in it: only pictures directly in `folder` are read."""
    for inner in entries(folder):
        count = sum(path.is_file() for path in inner.rglob("*")) if inner.is_dir() else 0
        if count:
            yield (
                f"{inner}: a folder with {count} file{'s' * (count > 1)}, where pictures are looked for in "
                f"{folder} alone: move them up, or the folder out of the data"
            )


def warn_left_out(paths: Sequence[Path], why: str) -> None:
    """Log a warning that names the files that are ignored. `why` gives the reason."""
    if paths:
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        log.warning("left out, %s: %s%s", why, ", ".join(map(str, paths[:NAMED])), more)
