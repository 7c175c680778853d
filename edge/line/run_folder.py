"""Makes the folder of a run in shared memory, and locks the line so that it cannot run twice at once.

linejudge-<user>/<line>/pid       the supervisor's process
linejudge-<user>/<line>/run       the name of the run's folder
linejudge-<user>/<line>/control.ipc    the socket for commands
linejudge-<user>/<line>/<run>/    ledgers, rings, plan and sockets of that run
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
from pathlib import Path

from ..errors import LineError
from ..journal.condition import is_behind
from ..memory.ledger import Ledger
from ..memory.stages import Stages

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")
#: Number of killed runs that are kept at most until their verdicts are published. Each takes about 20 MB.
MOST_LEFT = 8
#: The publish process of a killed run must end within this time after the deadline of the run's last part.
GRACE_S = 10.0


def runs(line: str) -> bool:
    """Return whether this user runs a line of this name now."""
    try:
        opened = os.open(base_folder() / line, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(opened)
    return False


def make_base() -> None:
    """Make this user's folder for all lines. Raise LineError if that fails or other users have access to it."""
    base = base_folder()
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        found = base.lstat()
    except OSError as error:
        raise LineError(f"{base}: cannot make the folder of this user's lines: {error.strerror}") from error
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or base.is_symlink():
        raise LineError(f"{base}: must be a folder of this user alone (0700): move it away")


def base_folder() -> Path:
    """Return the folder of all lines of this user."""
    return SHARED_MEMORY / f"linejudge-{os.getuid()}"


class RunFolder:
    """The folder of a new run in shared memory, which `with` makes. Only this user can read the folder.

    `left` holds the folders of earlier runs with verdicts that a subscriber may have missed, or that could not
    be written into the journal. At its end, `with` removes the new folder and those in `left`, except folders
    that still have such verdicts.
    """

    def __init__(self, line: str, *, journal: bool = False) -> None:
        """`journal` says that the line has a journal, into which earlier runs' verdicts are written."""
        self._line, self._journal = line, journal
        self._base = base_folder()
        self._folder = self._base / line
        self.path = self._folder / os.urandom(8).hex()
        self.left: tuple[Path, ...] = ()

    def __enter__(self) -> RunFolder:
        make_base()
        self._lock = self._locked()
        self.left = self._cleared()
        self.path.mkdir(mode=0o700)
        (self._folder / "pid").write_text(str(os.getpid()))
        (self._folder / "run").write_text(self.path.name)
        return self

    def _locked(self) -> int:
        """Lock the line's folder and return its file descriptor. Raise LineError if the line runs already."""
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

    def _cleared(self) -> tuple[Path, ...]:
        """Remove earlier runs' folders. Keep and return those with verdicts that a subscriber may miss."""
        left, found = [], list(self._folder.iterdir())
        for path in sorted(found, key=lambda path: path.stat().st_mtime_ns):
            if not path.is_dir():
                path.unlink()
                continue
            _await_publish(path)
            if self._is_needed(path):
                left.append(path)
                _forget_pictures(path)
            else:
                shutil.rmtree(path)
        for path in left[:-MOST_LEFT]:
            log.error("%s: too many runs were killed: its parts get no verdict", path)
            shutil.rmtree(path)
        if found:
            log.warning("%s: removed what a killed run had left", self._folder)
        return tuple(left[-MOST_LEFT:])

    def _is_needed(self, path: Path) -> bool:
        """Return whether verdicts of an earlier run may still have to be sent or written."""
        return is_left(path) or (self._journal and is_behind(path))

    def __exit__(self, *error: object) -> None:
        # The line may have ended before a subscriber heard the verdicts of earlier runs.
        kept = [path for path in self.left if self._is_needed(path)]
        if (self._journal and is_behind(self.path)) or any(
            Ledger.open(path).waiting for path in ledgers_in(self.path)
        ):
            kept.append(self.path)
            _forget_pictures(self.path)
        for path in {self.path, *self.left} - set(kept):
            shutil.rmtree(path, ignore_errors=True)
        if not kept:
            shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


def is_left(folder: Path) -> bool:
    """Return whether a subscriber may have missed a verdict of the run in `folder`."""
    try:
        ledgers = [Ledger.open(path) for path in ledgers_in(folder)]
    except LineError as error:
        log.error("its parts get no verdict: %s", error)
        return False
    return any(ledger.waiting or ledger.recorded_since(ledger.settled_ns) for ledger in ledgers)


def ledger_path(folder: Path, camera: str) -> Path:
    """Return the file of a camera's ledger in the folder of a run."""
    return folder / f"{camera}.ledger"


def ring_path(folder: Path, camera: str) -> Path:
    """Return the file of a camera's ring in the folder of a run."""
    return folder / f"{camera}.ring"


def stages_path(folder: Path) -> Path:
    """Return the file of the rows of a run's processes."""
    return folder / "stages"


def track_path(folder: Path) -> Path:
    """Return the file of the belt's positions in the folder of a run, on a line with an encoder."""
    return folder / "track"


def ledgers_in(folder: Path) -> list[Path]:
    """Return the files of the ledgers in the folder of a run, sorted by name."""
    return sorted(folder.glob("*.ledger"))


def _forget_pictures(folder: Path) -> None:
    """Free the memory of the pictures of a run that has ended."""
    for path in folder.glob("*.ring"):
        path.unlink()


def hold(folder: Path) -> None:
    """Lock the run's folder until this process ends. The lock shows that the run still publishes verdicts."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(opened, fcntl.LOCK_SH)


def _await_publish(folder: Path) -> None:
    """Wait until the publish process of a killed run has sent its last verdicts and ended.

    Raises LineError if that process does not end in time.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    end_ns = 0
    try:
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if not end_ns:
                    ledgers = [Ledger.open(path) for path in ledgers_in(folder)]
                    last = [ledger.part(ledger.captured - 1) for ledger in ledgers if ledger.captured]
                    last_ns = max((part.deadline_ns for part in last), default=0)
                    end_ns = max(time.monotonic_ns(), last_ns) + round(GRACE_S * 1e9)
                    log.warning("%s: waiting for the publish of a killed run", folder)
                if time.monotonic_ns() > end_ns:
                    pid = int(Stages.open(stages_path(folder))["publish"]["pid"][0])
                    raise LineError(
                        f"{folder}: the publish of a killed run, process {pid}, does not end: kill it"
                    ) from error
                time.sleep(0.02)
    finally:
        os.close(opened)
