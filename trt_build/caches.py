"""Where files are kept for a user that can be had again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(kind: str) -> Path | None:
    """The folder for a kind of files; None for a user without a home folder who sets no XDG_CACHE_HOME."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "linejudge" / kind
    try:
        return Path.home() / ".cache" / "linejudge" / kind
    except RuntimeError:
        return None
