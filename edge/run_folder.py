"""The folder in shared memory that holds a line's run, and the lock that keeps it from running twice."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from pathlib import Path

from .errors import LineError

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")


class RunFolder:
    """The line's own folder in shared memory, 0700, under a lock that ends with its process."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._base = SHARED_MEMORY / f"linejudge-{os.getuid()}"
        self._folder = self._base / line

    def __enter__(self) -> Path:
        self._base.mkdir(mode=0o700, exist_ok=True)
        found = self._base.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077 or self._base.is_symlink():
            raise LineError(f"{self._base}: must be a folder of this user alone (0700): move it away")
        self._lock = self._locked()
        if any(self._folder.iterdir()):
            log.warning("%s: cleared away what a killed run had left", self._folder)
            for path in self._folder.iterdir():
                path.unlink()
        (self._folder / "pid").write_text(str(os.getpid()))
        return self._folder

    def _locked(self) -> int:
        """The folder, made if need be, opened and locked; not one that its last user is just removing."""
        while True:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            opened = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._folder.exists() and os.path.samestat(os.fstat(opened), self._folder.stat()):
                    return opened
            except BlockingIOError as error:
                os.close(opened)
                raise LineError(
                    f"line {self._line!r} runs already (see {self._folder}/pid): "
                    "stop it, or give this recipe another name under `line`"
                ) from error
            os.close(opened)

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._folder)
        os.close(self._lock)
