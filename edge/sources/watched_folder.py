"""Watches a folder for pictures that other programs put there: which are new and complete, oldest first."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .base import EarlierPicture
from .listing import natural, reference

POLL_S = 0.25  # a file is complete once size and times stayed the same for so long
MOST_GONE = 50_000  # files that are no longer there and may come back, as those of a share do; some 15 MB


class _Seen(NamedTuple):
    """What tells a file from one that is written anew under the same name."""

    mtime_ns: int
    size: int
    inode: int


class WatchedFolder:
    """Each picture once, whatever happens to it later; one that is written anew is a new picture.

    `find` gives the paths that may be pictures. What is in `shown` was shown before, as was all that is older
    where `forgot` says that there was more than that.
    """

    def __init__(
        self, find: Callable[[], Iterable[Path]], shown: Sequence[EarlierPicture], forgot: bool
    ) -> None:
        self._find, self._shown, self._forgot = find, shown, forgot
        self._done: dict[Path, _Seen] | None = None
        self._growing: dict[Path, _Seen] = {}

    def poll(self) -> list[Path]:
        """Pictures that are complete since the last time; to be asked again after POLL_S, not earlier."""
        now = {path: seen for path in self._find() if (seen := _seen(path))}
        if self._done is None:
            self._done = self._before(now)
        new = {path: seen for path, seen in now.items() if self._done.get(path) != seen}
        complete = [path for path, seen in new.items() if self._growing.get(path) == seen]
        self._growing = new
        if len(self._done) > len(now) + MOST_GONE:
            self._done = {path: seen for path, seen in self._done.items() if path in now}
        self._done.update((path, new[path]) for path in complete)
        return sorted(complete, key=lambda path: (new[path].mtime_ns, natural(path)))

    def _before(self, now: dict[Path, _Seen]) -> dict[Path, _Seen]:
        """Of the files that are there those that were shown before this process."""
        last = {one.source_ref: one.captured_at_ns for one in self._shown}
        known = {path: seen for path, seen in now.items() if seen.mtime_ns <= last.get(reference(path), -1)}
        if self._forgot and known:
            oldest_ns = min(seen.mtime_ns for seen in known.values())
            known |= {path: seen for path, seen in now.items() if seen.mtime_ns < oldest_ns}
        return known


def _seen(path: Path) -> _Seen | None:
    """None for what is no file, or no longer there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return _Seen(found.st_mtime_ns, found.st_size, found.st_ino) if stat.S_ISREG(found.st_mode) else None
