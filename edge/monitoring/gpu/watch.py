"""Keeps reading a GPU on a thread of its own, so that a driver that hangs holds nobody up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ...errors import EngineError
from .base import LOST, Gpu, GpuState

_log = logging.getLogger(__name__)

EVERY_S = 1.0
STALE = 10  # after so many readings that did not come, the last one says nothing any more


class GpuWatch:
    """Finds a GPU and reads it again and again while in its `with`."""

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
        self._thread.join(self._every_s)  # and no longer, should the driver hang

    def latest(self) -> GpuState | None:
        """What was read last: LOST where the GPU is lost or its driver hangs, None where there is no GPU."""
        if self._read is None:
            return None
        state, read_s = self._read
        return state if time.monotonic() - read_s < STALE * self._every_s else LOST

    def _watch(self) -> None:
        gpu = self._find()
        if gpu is None:
            return
        known = True
        self._read = LOST, time.monotonic()
        while not self._stopping.is_set():
            try:
                state = gpu.read()
                if not known:
                    _log.info("GPU %s can be read again", gpu.name)
            except EngineError as error:
                state = LOST
                if known:
                    _log.error("GPU %s cannot be read: %s", gpu.name, error)
            known = state != LOST
            self._read = state, time.monotonic()
            self._stopping.wait(self._every_s)
