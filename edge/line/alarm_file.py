"""Keeps the memory of a line's alarms in a file, on a thread of its own, since a disk may take seconds."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import msgspec

from ..alarms.alarms import Memory
from .durable import replace_durably

log = logging.getLogger(__name__)

#: The end of the line waits so long for the last memory to be written.
LAST_WRITE_S = 5.0


class AlarmFile:
    """The file `<line>.alarms` in the folder `state`. The end of `with` writes what was kept last."""

    def __init__(self, state: Path, line: str) -> None:
        self._path = state / f"{line}.alarms"
        #: Why the file cannot be read or written; empty if it can.
        self.problem = ""
        self._kept: bytes | None = None
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="alarms", daemon=True)

    def __enter__(self) -> AlarmFile:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(LAST_WRITE_S)

    def read(self) -> Memory | None:
        """Return the memory of the last run, or None if there is none.

        A file that cannot be read is moved aside as `<line>.alarms.bad`, and `problem` says so.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Memory)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            self.problem = f"{self._path}: the alarms before the restart cannot be read: {error}"
            log.error(self.problem)
            bad = self._path.with_name(f"{self._path.name}.bad")
            try:
                self._path.replace(bad)
            except OSError as why:
                log.error("%s: cannot be moved aside: %s", self._path, why.strerror)
            return None

    def keep(self, memory: Memory) -> None:
        """Have the memory written. Does not wait; of several memories, only the last may be written."""
        content = msgspec.json.encode(memory)
        with self._wake:
            self._kept = content
            self._wake.notify()

    def _write(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closing or self._kept is not None)
                content, self._kept = self._kept, None
            if content is None:
                return
            try:
                replace_durably(self._path, content)
                self.problem = ""
            except OSError as error:
                problem = f"{self._path}: the alarms cannot be kept over a restart: {error.strerror}"
                if problem != self.problem:
                    log.error(problem)
                self.problem = problem
