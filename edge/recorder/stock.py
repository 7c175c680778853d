"""Counts and deletes the recorder's files in a folder that has a folder for each day. It touches no others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from .names import Kind, is_day
from .retention import Cut, Group, Stored, oldest

#: A file that is being written ends in this. One that a killed process left is deleted.
UNFINISHED = ".part"
#: After so many files, counting lets the writer do other work.
AT_ONCE = 500


class Stock:
    """The sizes of the files of each day and kind. However many files there are, it holds no list of them."""

    def __init__(self, folder: Path, kind_of: Callable[[str], Kind | None]) -> None:
        """`kind_of` says what a file of this name, without the day, is; None if it is somebody else's."""
        self._folder, self._kind_of = folder, kind_of
        #: The size in bytes of each group, as far as it is known: of all once `count` has ended.
        self.nbytes: dict[Group, int] = {}
        self._added: set[str] | None = None  # the files that were added while `count` goes on

    def add(self, name: str, nbytes: int) -> None:
        """Note a file that was written; `name` is its path in the folder."""
        day, _, file = name.partition("/")
        if kind := self._kind_of(file):
            self._note(Group(day=day, kind=kind), nbytes)
        if self._added is not None:
            self._added.add(name)

    def _note(self, group: Group, nbytes: int) -> None:
        self.nbytes[group] = self.nbytes.get(group, 0) + nbytes

    def count(self) -> Iterator[None]:
        """Count all files anew, and delete unfinished ones. Yields now and then, so that others can work.

        Files may be added meanwhile. Raises OSError if a folder cannot be read.
        """
        self.nbytes, self._added = {}, set()
        for day in self._days():
            for place, entry in enumerate(self._entries(day)):
                if place % AT_ONCE == 0:
                    yield
                kind = self._kind_of(entry.name)
                if kind and f"{day}/{entry.name}" not in self._added:
                    with suppress(FileNotFoundError):
                        self._note(Group(day=day, kind=kind), entry.stat().st_size)
                elif entry.name.endswith(UNFINISHED) and self._kind_of(entry.name[: -len(UNFINISHED)]):
                    Path(entry.path).unlink(missing_ok=True)
        self._added = None

    def _days(self) -> list[str]:
        with os.scandir(self._folder) as found:
            return sorted(one.name for one in found if is_day(one.name) and one.is_dir(follow_symlinks=False))

    def _entries(self, day: str) -> Iterator[os.DirEntry[str]]:
        """Yield the files of a day's folder; none if somebody has removed it."""
        with suppress(FileNotFoundError), os.scandir(self._folder / day) as found:
            yield from (one for one in found if one.is_file(follow_symlinks=False))

    def delete(self, cut: Cut) -> None:
        """Delete files, and the day's folder if it is empty. Raise OSError if a file cannot be deleted."""
        files = self._files(cut.group)
        for one in files if cut.nbytes is None else oldest(files, cut.nbytes):
            (self._folder / cut.group.day / one.name).unlink(missing_ok=True)
            self.nbytes[cut.group] -= one.nbytes
        if cut.nbytes is None:
            del self.nbytes[cut.group]
        with suppress(OSError):  # it has files of another kind, or of somebody else
            (self._folder / cut.group.day).rmdir()

    def _files(self, group: Group) -> Iterator[Stored]:
        for entry in self._entries(group.day):
            if self._kind_of(entry.name) == group.kind:
                with suppress(FileNotFoundError):
                    found = entry.stat()
                    yield Stored(name=entry.name, nbytes=found.st_size, at_ns=found.st_mtime_ns)
