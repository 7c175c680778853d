"""Finds the new, complete files in a folder into which other programs write pictures. The oldest come first."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .base import EarlierPicture
from .listing import natural, reference

#: A file is complete once its size and time have not changed for this long.
POLL_S = 0.25
#: Deleted files that are remembered, about 15 MB: the files of a network share vanish and come back.
MOST_GONE = 50_000


class _FileState(NamedTuple):
    """The time, size and inode of a file. At least one of them changes if the file is written again."""

    mtime_ns: int
    size: int
    inode: int


class WatchedFolder:
    """Reports each picture in a folder once. A file that is written again counts as a new picture.

    `find` returns the paths that may be pictures. The pictures in `shown` became parts before a restart and
    are not reported again. If `forgot` is true, `shown` lacks the oldest of these pictures. In that case, files
    that are older than all pictures in `shown` are not reported either.
    """

    def __init__(
        self, find: Callable[[], Iterable[Path]], shown: Sequence[EarlierPicture], forgot: bool
    ) -> None:
        self._find, self._shown, self._forgot = find, shown, forgot
        self._done: dict[Path, _FileState] | None = None
        self._growing: dict[Path, _FileState] = {}

    def poll(self) -> list[Path]:
        """Return the files completed since the last call, oldest first. Callers wait POLL_S between calls."""
        now = {path: state for path in self._find() if (state := _state_of(path))}
        if self._done is None:
            self._done = self._before(now)
        new = {path: state for path, state in now.items() if self._done.get(path) != state}
        complete = [path for path, state in new.items() if self._growing.get(path) == state]
        self._growing = new
        if len(self._done) > len(now) + MOST_GONE:
            self._done = {path: state for path, state in self._done.items() if path in now}
        self._done.update((path, new[path]) for path in complete)
        return sorted(complete, key=lambda path: (new[path].mtime_ns, natural(path)))

    def _before(self, now: dict[Path, _FileState]) -> dict[Path, _FileState]:
        """Return the files in `now` that became parts before this process started, with their states."""
        last = {one.source_ref: one.captured_at_ns for one in self._shown}
        known = {path: state for path, state in now.items() if state.mtime_ns <= last.get(reference(path), -1)}
        if self._forgot and known:
            oldest_ns = min(state.mtime_ns for state in known.values())
            known |= {path: state for path, state in now.items() if state.mtime_ns < oldest_ns}
        return known


def _state_of(path: Path) -> _FileState | None:
    """Return the state of the file at `path`, or None if there is no such file any more."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return _FileState(found.st_mtime_ns, found.st_size, found.st_ino) if stat.S_ISREG(found.st_mode) else None
