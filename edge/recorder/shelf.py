"""Writes files into a folder that only this user can read, and deletes the oldest to keep within limits."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..errors import LineError
from .retention import Limits, Stored, surplus

log = logging.getLogger(__name__)

#: A file that is being written ends in this. One that a killed process left is deleted.
UNFINISHED = ".part"
#: How often files that have become too old are looked for.
CHECK_NS = 600_000_000_000


def check_folder(folder: Path) -> None:
    """Raise LineError if this user could not make the recorder's folder or write to it. Changes nothing."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise _unusable(folder, f"{there} is no folder that this user may write to")


def _unusable(folder: Path, why: str) -> LineError:
    return LineError(f"recorder.folder: {folder}: cannot be used: {why}: name another one")


class Shelf:
    """A folder of files that are deleted when they are too old or too large together.

    No file is written if less than `reserve` bytes of the disk would stay free. `is_full` says whether the last
    file could not be written, for lack of room or another fault of the disk.
    """

    def __init__(
        self, folder: Path, limits: Limits, reserve: int, is_sample: Callable[[str], bool] = lambda name: False
    ) -> None:
        """`is_sample` says whether the name of a file is that of a sample of a passed part."""
        self._folder, self._limits, self._reserve, self._is_sample = folder, limits, reserve, is_sample
        self._stored: dict[str, Stored] = {}
        self._nbytes = 0
        self._check_due_ns = 0
        self.is_full = False

    def open(self) -> None:
        """Make the folder, and find the files that are there. Raise LineError if the folder cannot be used."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            self._try()
            for path in self._folder.rglob("*"):
                if path.suffix == UNFINISHED:
                    path.unlink()
                elif path.is_file():
                    self._note(path)
        except OSError as error:
            raise _unusable(self._folder, error.strerror or str(error)) from error

    def _note(self, path: Path) -> None:
        found = path.stat()
        name = str(path.relative_to(self._folder))
        self._stored[name] = Stored(
            path=name, nbytes=found.st_size, at_ns=found.st_mtime_ns, is_sample=self._is_sample(name)
        )
        self._nbytes += found.st_size

    def put(self, name: str, nbytes: int, write: Callable[[Path], None]) -> bool:
        """Have `write` write a file of about `nbytes` bytes, and then give it its name.

        Returns whether the file is there. Otherwise, `is_full` is true, and the log says why.
        """
        path = self._folder / name
        unfinished = path.with_name(path.name + UNFINISHED)
        try:
            self._check_room(nbytes)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write(unfinished)
            unfinished.replace(path)
            self._note(path)
        except OSError as error:
            self._say(error.strerror or str(error))
            return False
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
        self._recovered()
        return True

    def look_again(self) -> None:
        """Set `is_full` to false if the disk takes files again."""
        if not self.is_full:
            return
        with suppress(OSError):
            self._check_room(0)
            self._try()
            self._recovered()

    def _check_room(self, nbytes: int) -> None:
        """Raise OSError if less than the reserve would stay free."""
        found = os.statvfs(self._folder)
        if (left := found.f_bavail * found.f_frsize - nbytes) < self._reserve:
            said = f"{self._reserve >> 20} MiB are to stay free, and {max(left, 0) >> 20} would"
            raise OSError(errno.ENOSPC, said)

    def _try(self) -> None:
        """Write and delete a small file. Raise OSError if that is impossible."""
        trial = self._folder / f"trial{UNFINISHED}"
        trial.write_bytes(bytes(4096))
        trial.unlink()

    def _recovered(self) -> None:
        if self.is_full:
            log.warning("%s: files are written again", self._folder)
        self.is_full = False

    def _say(self, why: str) -> None:
        if not self.is_full:
            log.error("%s: nothing is written: %s", self._folder, why)
        self.is_full = True

    def tidy(self, now_ns: int) -> None:
        """Delete the files that are too old, or the oldest if all together are too large.

        `now_ns` is the time of the wall clock. A file that cannot be deleted is tried again later.
        """
        if self._nbytes <= self._limits.nbytes and 0 <= self._check_due_ns - now_ns <= CHECK_NS:
            return
        self._check_due_ns = now_ns + CHECK_NS
        for one in surplus(self._stored.values(), self._limits, now_ns):
            path = self._folder / one.path
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self._say(f"{one.path} cannot be deleted: {error.strerror}")
                return
            del self._stored[one.path]
            self._nbytes -= one.nbytes
            if path.parent != self._folder and not any(path.parent.iterdir()):
                path.parent.rmdir()


def day_and_time(now_ns: int) -> str:
    """Return the start of a file's name, its day and time in UTC: `2026-01-31/235959`."""
    return time.strftime("%Y-%m-%d/%H%M%S", time.gmtime(now_ns // 1_000_000_000))
