"""Where pictures come from: each kind of [source] section and the class that reads it."""

from __future__ import annotations

from collections.abc import Sequence

from .. import recipe
from .base import EarlierPicture, Source, Trigger
from .folder import FolderSource
from .synthetic import SyntheticSource

__all__ = ["EarlierPicture", "Source", "Trigger", "open_source"]


def open_source(section: recipe.Source, shown: Sequence[EarlierPicture] = ()) -> Source:
    """The source that a recipe's [source] section names; it opens on `with`.

    What was shown before capture was started anew matters to a folder, which goes on behind it.
    """
    if isinstance(section, recipe.Folder):
        return FolderSource(section, shown)
    if isinstance(section, recipe.Synthetic):
        return SyntheticSource(section)
    from .video import open_video  # FFmpeg loads for a third of a second, and only capture needs it

    return open_video(section)
