"""Plays the pictures of a folder as if a camera took them, at a steady rate and in the order of their names."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import recipe
from ..errors import PartError, PictureError, SourceEnded, SourceError
from ..pictures import read
from .base import Trigger, deliver
from .pace import Pace

_STANDS_FOR = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]", "{view}": "(?P<view>[^/]+)"}


class FolderSource:
    """A picture that cannot be read still is a part. Without `{view}` all show one view, the camera's name."""

    def __init__(self, section: recipe.Folder) -> None:
        self._section = section

    def __enter__(self) -> FolderSource:
        files = self._section.files
        found = glob.glob(files.replace("[", "[[]").replace("{view}", "*"), recursive=True)
        self._files = sorted((Path(name) for name in found if Path(name).is_file()), key=_natural)
        if not self._files:
            raise SourceError(f"{files}: no picture has such a name: correct [source] files")
        self._view = _view_in(files)
        self._next = 0
        self._ahead: NDArray[Any] | PartError | None = None
        self._pace = Pace(self._section.fps)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ahead = None  # no file is held open; only the next picture is

    def wait(self, timeout_s: float) -> Trigger | None:
        """Decode the next picture ahead of its time, then wait until it is due."""
        if self._next == len(self._files):
            if not self._section.repeat:
                raise SourceEnded(f"all {len(self._files)} pictures of {self._section.files} have been shown")
            self._next = 0
        path = self._files[self._next]
        if self._ahead is None:
            self._ahead = decoded(path)
        match = self._view.fullmatch(str(path))
        view = match["view"] if match and "view" in match.groupdict() else self._section.camera
        trigger = self._pace.wait(timeout_s, view, str(path))
        if trigger is not None:
            self._shown, self._name, self._ahead = self._ahead, str(path), None
            self._next += 1
        return trigger

    def read(self, out: NDArray[np.uint8]) -> None:
        if isinstance(self._shown, PartError):
            raise self._shown
        deliver(self._shown, out, self._name)


def decoded(path: Path) -> NDArray[Any] | PartError:
    """The picture as it is stored, or why it cannot be had."""
    try:
        return read(path)
    except PictureError as error:
        return PartError("frame", str(error))


def _view_in(pattern: str) -> re.Pattern[str]:
    """Finds the part of a file's name that stands for `{view}`."""
    pieces = re.split(r"(\*\*/|\*|\?|\{view\})", pattern)
    return re.compile("".join(_STANDS_FOR.get(piece, re.escape(piece)) for piece in pieces))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts `part-9` before `part-10`."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", str(path))]
