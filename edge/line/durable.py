"""Replaces a small file so that, whatever happens meanwhile, its old or its new content is on the disk."""

from __future__ import annotations

import os
from pathlib import Path


def replace_durably(path: Path, content: bytes) -> None:
    """Write `content` beside the file and rename it to `path`. When this returns, a power cut cannot undo it.

    Raises OSError if the file cannot be written. The old content then stays.
    """
    new = path.with_name(f"{path.name}.new")
    with open(new, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Without this, a power cut may undo the renaming.
        os.fsync(folder)
    finally:
        os.close(folder)
