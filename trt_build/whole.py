"""Writes a folder completely or not at all, and raises a clear error if the disk refuses a write."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.bundle import MANIFEST
from edge.errors import EdgeError

#: Errors of a disk that is full, read-only or broken.
REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}


class DiskError(EdgeError, OSError):
    """The disk is full, read-only or broken. The error's text names what could not be written."""


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Raise DiskError, with `place` in its text, if the disk refuses a write in the `with` block."""
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
    """Yield a new, empty folder to write into. After the `with` block, move the files in it to `folder`.

    If the block raises an error, `folder` stays as it was. Raise DiskError if the disk refuses a write.
    """
    # A resolved path has a name, which `.` has not.
    folder = folder.resolve()
    beside = folder.with_name(f".{folder.name}.part")
    part = beside / folder.name
    with writing(folder):
        # A process that was killed may have left this.
        shutil.rmtree(beside, ignore_errors=True)
        try:
            part.mkdir(parents=True)
            yield part
            _put(part, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _put(part: Path, folder: Path) -> None:
    """Move the finished folder `part` to `folder`. If `folder` exists, replace its files, the manifest last."""
    if not folder.exists():
        part.rename(folder)
        return
    files = [path for path in sorted(part.rglob("*")) if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == MANIFEST):
        place = folder / path.relative_to(part)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, place)
