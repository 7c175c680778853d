"""Writes files into a folder that only this user can read, and deletes the oldest to keep within limits."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import LineError
from .names import Kind, day_of
from .retention import Limits, surplus
from .stock import UNFINISHED, Stock

log = logging.getLogger(__name__)

#: After a fault of the disk, files are not counted and deleted for this time.
RETRY_NS = 60_000_000_000


def check_folder(folder: Path) -> None:
    """Raise LineError if this user could not make the recorder's folder or write to it. Changes nothing."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise _unusable(folder, f"{there} is no folder that this user may write to")


def _unusable(folder: Path, why: str) -> LineError:
    return LineError(f"recorder.folder: {folder}: cannot be used: {why}: name another one")


class Shelf:
    """A folder of files that are deleted when they are too old or too large together. `with` opens it.

    No file is written if less than `reserve` bytes of the disk would stay free. `is_full` says whether the last
    file could not be written, for lack of room or another fault of the disk. `with` raises LineError if the
    folder cannot be used. It takes as long as in an empty folder: `tidy` counts the files.
    """

    def __init__(
        self, folder: Path, limits: Limits, reserve: int, kind_of: Callable[[str], Kind | None]
    ) -> None:
        """`kind_of` says what a file of this name, without the day, is; None if it is somebody else's."""
        self._folder, self._limits, self._reserve = folder, limits, reserve
        self._stock = Stock(folder, kind_of)
        self._counting: Iterator[None] | None = None
        self._tidied_on = ""  # the last day on which all was counted, and what was too old was deleted
        self._failed_ns = 0
        self._is_alone = False
        self.is_full = False

    def __enter__(self) -> Shelf:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            self._try()
            self._opened = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _unusable(self._folder, error.strerror or str(error)) from error
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._opened)

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
            self._stock.add(name, path.stat().st_size)
        except OSError as error:
            self._say(f"nothing is written: {error.strerror or error}")
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
        trial.unlink(missing_ok=True)

    def _recovered(self) -> None:
        if self.is_full:
            log.warning("%s: files are written again", self._folder)
        self.is_full = False

    def _say(self, why: str) -> None:
        if not self.is_full:
            log.error("%s: %s", self._folder, why)
        self.is_full = True

    @property
    def is_counting(self) -> bool:
        """Whether `tidy` has more to do at once."""
        return self._counting is not None

    def tidy(self, now_ns: int) -> None:
        """Delete the files that are too old, or the oldest if all together are too large.

        `now_ns` is the time of the wall clock. At the start, once a day and before files are deleted for their
        size, it counts all files, some at each call, since people may have changed the folder. Until that is
        done it deletes nothing. What cannot be deleted is tried again later.
        """
        today = day_of(now_ns)
        try:
            if self._counting is None and self._is_due(today, now_ns):
                self._counting = self._stock.count()
            if self._counting is None:
                return
            for _ in self._counting:
                return  # the next call goes on
            self._counting = None
            for cut in surplus(self._stock.nbytes, self._limits, today):
                self._stock.delete(cut)
            self._tidied_on = today
        except OSError as error:
            self._counting, self._failed_ns = None, now_ns
            self._say(f"{error.filename}: cannot be read or deleted: {error.strerror}")

    def _is_due(self, today: str, now_ns: int) -> bool:
        is_large = sum(self._stock.nbytes.values()) > self._limits.nbytes
        if not is_large and self._tidied_on == today:
            return False
        return not 0 <= now_ns - self._failed_ns < RETRY_NS and self._has_lock()

    def _has_lock(self) -> bool:
        """Return whether no other recorder writes here: that of a killed line may still write a black box."""
        if not self._is_alone:
            try:
                fcntl.flock(self._opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError:
                pass  # there are file systems without locks
            self._is_alone = True
        return self._is_alone
