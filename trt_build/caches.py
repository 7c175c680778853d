"""Finds the folder for a user's cached files. If such a file is deleted, it can be made or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(kind: str) -> Path | None:
    """Return the path of the folder `kind` in the user's cache.

    Return None if XDG_CACHE_HOME is not set and the user has no home folder.
    """
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "linejudge" / kind
    try:
        return Path.home() / ".cache" / "linejudge" / kind
    except RuntimeError:
        return None
