"""Takes frames from a live camera. Each frame becomes a part, or is skipped and counted.

A separate thread reads the stream, because reading can hang for seconds if the camera stops sending.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from .. import recipe
from ..documents.address import without_secrets
from ..errors import SourceError
from .backlog import Backlog
from .base import Trigger, deliver_frame
from .stream_frame import StreamFrame

#: Connects within a time in seconds, or raises SourceError; yields frames until the stream ends or raises
#: SourceError.
Open = Callable[[recipe.Video, float], Iterator[StreamFrame]]
_OPEN_TIMEOUT_S = 10.0


class LiveStream:
    """A source of a live camera's frames. `open` connects to the camera and yields the frames."""

    def __init__(self, section: recipe.Video, open: Open) -> None:
        self._section, self._open = section, open
        self._name = without_secrets(section.address)
        self._backlog = Backlog(section.newest)
        self._opened = threading.Event()
        self._open_error: str | None = None
        self._stopping = False
        self._heard_ns = 0

    def __enter__(self) -> LiveStream:
        threading.Thread(target=self._read, name="read", daemon=True).start()
        if not self._opened.wait(_OPEN_TIMEOUT_S):
            self._stopping = True
            raise SourceError(f"{self._name}: did not open within {_OPEN_TIMEOUT_S:g} s: is it reachable?")
        if self._open_error is not None:
            raise SourceError(self._open_error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A thread that hangs in the driver is not waited for; it ends with the process.
        self._stopping = True

    def wait(self, timeout_s: float) -> Trigger | None:
        """Wait for the next frame. Return its trigger, or None if no frame came within `timeout_s` seconds.

        Raises SourceError if the stream ended, or if the camera was silent for longer than the recipe allows.
        """
        taken = self._backlog.take(timeout_s)
        if isinstance(taken, str):
            raise SourceError(taken)
        if taken is not None:
            frame = self._frame = taken.frame
            view = self._section.camera
            return Trigger(
                view,
                frame.captured_ns,
                frame.captured_at_ns,
                frame.ref,
                taken.skipped,
                taken.lost,
                frame.count,
            )
        silent_ms = (time.monotonic_ns() - self._heard_ns) // 1_000_000
        if silent_ms > self._section.timeout_ms:
            raise SourceError(
                f"{self._name}: no frame for {silent_ms} ms, {self._section.timeout_ms} are allowed: check "
                "camera and cable"
            )
        return None

    def read(self, out: NDArray[np.uint8]) -> None:
        """Write the triggered frame into `out`, `(H, W)` or `(H, W, 3)` uint8; on failure raise PartError."""
        deliver_frame(self._frame, out, self._name)

    def _read(self) -> None:
        """Run in the thread: put frames into the queue until the stream ends or the source is closed."""
        why = f"{self._name}: the stream ended or broke off: check camera and cable"
        try:
            # `wait` notices a silent camera, so reading may wait longer than the recipe allows silence.
            frames = self._open(self._section, max(_OPEN_TIMEOUT_S, self._section.timeout_ms / 1000 + 1))
        except SourceError as error:
            self._open_error = str(error)
            self._opened.set()
            return
        self._heard_ns = time.monotonic_ns()
        self._opened.set()
        try:
            for frame in frames:
                self._heard_ns = time.monotonic_ns()
                self._backlog.put(frame)
                if self._stopping:
                    break
        except SourceError as error:
            why = str(error)
        finally:
            self._backlog.end(why)
