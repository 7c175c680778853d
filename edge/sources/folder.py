"""Plays the pictures of a folder at a steady rate: sorted by name, or as new files appear."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import recipe
from ..errors import PartError, PictureError, SourceEnded, SourceError
from ..memory.ledger import ROWS
from ..messages import VIEW_BYTES
from ..pictures import read
from .base import EarlierPicture, Trigger, deliver
from .listing import Views, check_folder, files_of, folder_of, listed, reference
from .pace import Pace
from .watched_folder import POLL_S, WatchedFolder

#: Rest after a look at the folder, in times of what the look took: a large one takes a fifth of the time at
#: most.
POLL_REST = 4


class FolderSource:
    """A source of the pictures in a folder. A picture that cannot be read becomes a part too.

    If the pattern of file names has no `{view}`, each picture's view is the camera's name. `shown` holds the
    pictures that became parts before a restart. The source continues after the last of those pictures.
    """

    def __init__(self, section: recipe.Folder, shown: Sequence[EarlierPicture] = ()) -> None:
        self._section, self._shown_before = section, shown
        self._views = Views(section.files, section.camera)

    def __enter__(self) -> FolderSource:
        files = self._section.files
        if not self._section.watch:
            self._files = files_of(files)
            if not self._files:
                raise SourceError(f"{files}: no picture has such a name: correct [source] files")
            self._next = _behind(self._files, self._shown_before)
        else:
            check_folder(folder_of(files))
            forgot = len(self._shown_before) >= ROWS
            self._files, self._next = [], 0
            self._spool = WatchedFolder(lambda: listed(files), self._shown_before, forgot)
            self._poll_due_s = 0.0
        self._ahead: NDArray[Any] | PartError | None = None
        self._pace = Pace(self._section.fps)
        self._count = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # No file is open; only the next picture is held.
        self._ahead = None

    def wait(self, timeout_s: float) -> Trigger | None:
        """Wait until the next picture is due. Return its trigger, or None if `timeout_s` seconds pass first."""
        if self._next == len(self._files) and not self._more(timeout_s):
            return None
        path = self._files[self._next]
        # The first picture may have ended the process before this one: it is decoded once it is a part.
        if self._ahead is None and self._count:
            self._ahead = decoded(path)
        view = self._views.of(path)
        fits = 0 < len(view.encode()) <= VIEW_BYTES
        trigger = self._pace.wait(timeout_s, view if fits else "", str(path))
        if trigger is not None:
            self._shown, self._path, self._ahead = self._ahead, path, None
            self._unfit = None if fits else PartError("view", _no_view(path, view))
            self._next += 1
            self._count += 1
        return trigger

    def read(self, out: NDArray[np.uint8]) -> None:
        """Write the triggered picture into `out`, `(H, W)` or `(H, W, 3)` uint8; on failure raise PartError."""
        if self._unfit:
            raise self._unfit
        picture = decoded(self._path) if self._shown is None else self._shown
        if isinstance(picture, PartError):
            raise picture
        deliver(picture, out, str(self._path))

    def _more(self, timeout_s: float) -> bool:
        """Return whether there are more pictures. Raises SourceEnded if all have been shown.

        A folder that repeats starts again. A watched folder waits up to `timeout_s` for new files.
        """
        if not self._section.watch:
            if not self._section.repeat:
                raise SourceEnded(f"all {len(self._files)} pictures of {self._section.files} have been shown")
            self._next = 0
            return True
        end_s = time.monotonic() + timeout_s
        while not self._files[self._next :]:
            now_s = time.monotonic()
            if self._poll_due_s > end_s:
                time.sleep(max(0, end_s - now_s))
                return False
            time.sleep(max(0, self._poll_due_s - now_s))
            start_s = time.monotonic()
            # A folder whose disk is gone would look like one without new pictures.
            check_folder(folder_of(self._section.files))
            self._files, self._next = self._spool.poll(), 0
            took_s = time.monotonic() - start_s
            self._poll_due_s = start_s + took_s + max(POLL_S, POLL_REST * took_s)
        # No part was due while there were no pictures.
        self._pace = Pace(self._section.fps)
        return True


def _behind(files: Sequence[Path], shown: Sequence[EarlierPicture]) -> int:
    """Return the index after the last of the `shown` pictures that is still in `files`, or 0 if none is."""
    places = {reference(path): place for place, path in enumerate(files)}
    return next((places[one.source_ref] + 1 for one in reversed(shown) if one.source_ref in places), 0)


def _no_view(path: Path, view: str) -> str:
    """Return an error text that says why the view in a picture's name cannot be used."""
    if not view:
        return f"{path}: its name does not tell the view: correct {{view}} in [source] files"
    return f"{path}: the view in its name has {len(view.encode())} bytes, a part has room for {VIEW_BYTES}"


def decoded(path: Path) -> NDArray[Any] | PartError:
    """Return a file's picture as `(H, W)` or `(H, W, C)`, or a PartError that says why it cannot be read."""
    try:
        return read(path)
    except PictureError as error:
        return PartError("frame", str(error))
