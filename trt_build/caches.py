"""Tells where a user's cached files are: files that can be made or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(kind: str) -> Path | None:
    """Return the folder for a kind of files; None without a home folder and without XDG_CACHE_HOME."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "linejudge" / kind
    try:
        return Path.home() / ".cache" / "linejudge" / kind
    except RuntimeError:
        return None
