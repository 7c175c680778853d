"""Folders that are written whole or not at all, and what a person is told where a disk takes no more."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.bundle import MANIFEST
from edge.errors import EdgeError

#: What a disk says that takes no more, or nothing at all.
REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}


class DiskError(EdgeError, OSError):
    """A disk that is full, read-only or broken; names what was to be written there."""


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Tell of a disk that refuses which file or folder was to be written, as DiskError."""
    try:
        yield
    except OSError as error:
        if isinstance(error, EdgeError) or error.errno not in REFUSALS:
            raise
        raise DiskError(
            f"{place}: cannot be written: {error.strerror}: make room on that disk, or name a folder on another"
        ) from error


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A folder of the same name to write into, beside; at the end its files are put where they belong.

    Whatever goes wrong before, `folder` is as it was. DiskError where the disk takes no more.
    """
    folder = folder.resolve()  # which has a name, whatever was typed
    beside = folder.with_name(f".{folder.name}.part")
    part = beside / folder.name
    with writing(folder):
        shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
        try:
            part.mkdir(parents=True)
            yield part
            _put(part, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _put(part: Path, folder: Path) -> None:
    """Rename; file by file where there is a folder already, the manifest last, which vouches for the others."""
    if not folder.exists():
        part.rename(folder)
        return
    files = [path for path in sorted(part.rglob("*")) if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == MANIFEST):
        place = folder / path.relative_to(part)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, place)
