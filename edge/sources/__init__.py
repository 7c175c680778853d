"""Opens the source of a line's pictures: a folder, a video file, a camera, or rendered boards."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from .. import recipe
from .base import EarlierPicture, Source, Trigger
from .belt import BeltSource, Scene
from .folder import FolderSource
from .synthetic import SyntheticSource

__all__ = ["EarlierPicture", "Scene", "Source", "Trigger", "is_live", "open_source"]


def open_source(
    section: recipe.Source, shown: Sequence[EarlierPicture] = (), scene: Scene | None = None
) -> Source:
    """Return the source that a recipe's [source] section describes. The caller opens the source by `with`.

    `shown` holds the pictures that became parts before capture was restarted. A folder source continues with
    the pictures that follow them, and a source that counts its triggers continues to count. `scene` says where
    a camera of a simulated belt stands; without it, it is the first camera, and the belt starts now.
    """
    if isinstance(section, recipe.Folder):
        return FolderSource(section, shown)
    if isinstance(section, recipe.Synthetic):
        return SyntheticSource(section, shown)
    if isinstance(section, recipe.SimulatedBelt):
        here = Scene(camera=section.camera, start_ns=time.monotonic_ns())
        return BeltSource(section, scene or here, shown)
    # FFmpeg takes a third of a second to load, and only capture needs it.
    from .video import open_video

    return open_video(section)


def is_live(section: recipe.Source) -> bool:
    """Return whether the source that a recipe describes is a camera, and not files or rendered pictures."""
    return isinstance(section, recipe.Video) and not os.path.isfile(section.address)
