"""Reads a GPU again and again on a thread of its own, so that a driver that hangs delays nothing else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ...errors import EngineError
from .base import LOST, Gpu, GpuState

_log = logging.getLogger(__name__)

EVERY_S = 1.0
#: After this many missing readings, the last reading is too old to be used.
STALE = 10


class GpuWatch:
    """Finds a GPU with `find`, and reads its state every `every_s` seconds during the `with` block."""

    def __init__(self, find: Callable[[], Gpu | None], every_s: float = EVERY_S) -> None:
        self._find, self._every_s = find, every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gpu", daemon=True)
        self._read: tuple[GpuState, float] | None = None

    def __enter__(self) -> GpuWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        # Wait no longer than this, in case the driver hangs.
        self._thread.join(self._every_s)

    def latest(self) -> GpuState | None:
        """Return the last reading. Return LOST if the GPU is lost or hangs, and None if there is no GPU."""
        if self._read is None:
            return None
        state, read_s = self._read
        return state if time.monotonic() - read_s < STALE * self._every_s else LOST

    def _watch(self) -> None:
        try:
            gpu = self._find()
        except Exception:
            _log.exception("no GPU among the metrics: looking for it failed")
            return
        if gpu is None:
            return
        known = True
        self._read = LOST, time.monotonic()
        while not self._stopping.is_set():
            try:
                state = gpu.read()
                if not known:
                    _log.info("GPU %s can be read again", gpu.name)
            # Whatever a driver or its library does, this thread goes on: the next reading may succeed.
            except Exception as error:
                state = LOST
                if known:
                    said = error if isinstance(error, EngineError) else repr(error)
                    _log.error("GPU %s cannot be read: %s", gpu.name, said)
            known = state != LOST
            self._read = state, time.monotonic()
            self._stopping.wait(self._every_s)
