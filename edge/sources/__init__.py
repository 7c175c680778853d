"""Where pictures come from: each kind of [source] section and the class that reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import recipe
from .base import Source, Trigger
from .folder import FolderSource
from .synthetic import SyntheticSource
from .video import open_video

__all__ = ["Source", "Trigger", "open_source"]

_SOURCES: dict[type, Callable[[Any], Source]] = {
    recipe.Synthetic: SyntheticSource,
    recipe.Folder: FolderSource,
    recipe.Video: open_video,
}


def open_source(section: recipe.Source) -> Source:
    """The source that a recipe's [source] section names; it opens on `with`."""
    return _SOURCES[type(section)](section)
