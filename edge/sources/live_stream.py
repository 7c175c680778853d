"""Takes the frames of a camera that does not wait: each becomes a part, or is passed over and counted.

A thread of its own reads, since a stream that went silent may hang for seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from .. import recipe
from ..documents.address import shown
from ..errors import SourceError
from .backlog import Backlog
from .base import Trigger, deliver_frame
from .stream_frame import StreamFrame

#: Connects, or raises SourceError, and gives frames until the stream is over, which may be a SourceError too.
Open = Callable[[recipe.Video, float], Iterator[StreamFrame]]
_OPEN_TIMEOUT_S = 10.0


class LiveStream:
    """A stream that is read by `open`."""

    def __init__(self, section: recipe.Video, open: Open) -> None:
        self._section, self._open = section, open
        self._name = shown(section.address)
        self._backlog = Backlog(section.newest)
        self._opened = threading.Event()
        self._failed: str | None = None  # why it could not be opened
        self._stopping = False
        self._heard_ns = 0

    def __enter__(self) -> LiveStream:
        threading.Thread(target=self._read, name="read", daemon=True).start()
        if not self._opened.wait(_OPEN_TIMEOUT_S):
            self._stopping = True
            raise SourceError(f"{self._name}: did not open within {_OPEN_TIMEOUT_S:g} s: is it reachable?")
        if self._failed is not None:
            raise SourceError(self._failed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True  # a thread that hangs in the driver is left behind; it ends with the process

    def wait(self, timeout_s: float) -> Trigger | None:
        taken = self._backlog.take(timeout_s)
        if isinstance(taken, str):
            raise SourceError(taken)
        if taken is not None:
            frame = self._frame = taken.frame
            view = self._section.camera
            return Trigger(view, frame.captured_ns, frame.captured_at_ns, frame.ref, taken.skipped, taken.lost)
        silent_ms = (time.monotonic_ns() - self._heard_ns) // 1_000_000
        if silent_ms > self._section.timeout_ms:
            raise SourceError(
                f"{self._name}: no frame for {silent_ms} ms, {self._section.timeout_ms} are allowed: look at "
                "camera and cable"
            )
        return None

    def read(self, out: NDArray[np.uint8]) -> None:
        deliver_frame(self._frame, out, self._name)

    def _read(self) -> None:
        """In the thread: take over frames until told to stop or until there are none."""
        said = f"{self._name}: the stream ended or broke off: look at camera and cable"
        try:
            # Longer than the recipe lets the camera be silent, which `wait` notices by itself.
            frames = self._open(self._section, max(_OPEN_TIMEOUT_S, self._section.timeout_ms / 1000 + 1))
        except SourceError as error:
            self._failed = str(error)
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
            said = str(error)
        finally:
            self._backlog.end(said)
