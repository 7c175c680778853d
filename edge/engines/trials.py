"""Remembers which engines a process is trying, so that the next process leaves out one that ended this one.

A GPU's driver or library may crash or hang when an engine is opened, and after a failure of the GPU only a new
process can go on. That process must not try the same again and again while no part is judged. So infer writes
down each GPU engine before it opens it, and takes it off the list when it is ready for parts.

The file lies in the folder of the run, so the list ends with the run. Whoever has mended the GPU restarts the
line.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import get_args

import msgspec

from ..errors import EdgeError, EngineLost
from ..recipe import EngineKind, Runtime

CRASHED = "the process ended, or did not answer, while it opened this engine: see the log and `dmesg`"
BESIDE = "the process ended, or did not answer, while it opened another engine of the GPU"
RETRY = "restart the line to try it again"

_log = logging.getLogger(__name__)


class Trials:
    """The GPU engines that are being tried in a `with` block, and why earlier ones failed.

    `path` is the file that remembers them; without a file nothing is remembered. If the block fails while
    engines are being tried, they are to blame: it raises EngineLost, as a new process can go on without them.
    With `only_read` the file is not written: a failure beside an engine that works is not that engine's fault.
    """

    def __init__(self, path: Path | None = None, *, only_read: bool = False) -> None:
        self._path = None if only_read else path
        self._tried: Counter[str] = Counter()  # how many judges have it open
        try:
            self._failed = msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path else {}
        except OSError:
            self._failed = {}

    def failure(self, kind: EngineKind) -> str | None:
        """Return why the engine failed in an earlier process of this run; None if it did not.

        A crash or a hang may be the driver's, so it counts against all engines of the GPU: the line would else
        wait for each of them, and systemd would end it meanwhile.
        """
        why = self._failed.get(kind)
        if why is None and kind in get_args(Runtime) and CRASHED in self._failed.values():
            why = BESIDE
        return why and f"{why}: {RETRY}"

    def begin(self, kind: EngineKind) -> None:
        """Write down that the engine is being tried, if it is a GPU's."""
        if kind in get_args(Runtime):
            self._tried[kind] += 1
            self._write(CRASHED)

    def drop(self, kind: EngineKind) -> None:
        """Take an engine of a judge off the list, because it failed in a way that this process has handled."""
        self._tried -= Counter({str(kind): 1})
        self._write(CRASHED)

    def end(self) -> None:
        """Take all engines off the list: they work."""
        self._tried.clear()
        self._write(CRASHED)

    def _write(self, why: str) -> None:
        if self._path:
            told = {**self._failed, **dict.fromkeys(self._tried, why)}
            part = self._path.with_name(f"{self._path.name}.part")
            part.write_bytes(msgspec.json.encode(told))
            part.replace(self._path)

    def __enter__(self) -> Trials:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception):
            # The process was told to stop.
            self.end()
        elif self._tried and self._path:
            self._write(str(error) or repr(error))
            if not isinstance(error, EdgeError):
                _log.error("an engine failed in an unknown way", exc_info=error)
            if not isinstance(error, EngineLost):
                names = ", ".join(sorted(self._tried))
                raise EngineLost(f"{error or repr(error)}: the next process does without {names}") from error
