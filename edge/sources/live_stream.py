"""Takes the frames of a live camera: each becomes a part, or is skipped and counted.

The stream is read in a thread of its own, since reading may hang for seconds when the camera falls silent.
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
    """A source of the frames that `open` yields."""

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
        """Return the next frame's trigger, as `Source.wait` says."""
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
                f"{self._name}: no frame for {silent_ms} ms, {self._section.timeout_ms} are allowed: check "
                "camera and cable"
            )
        return None

    def read(self, out: NDArray[np.uint8]) -> None:
        """Write the frame into `out`, as `Source.read` says."""
        deliver_frame(self._frame, out, self._name)

    def _read(self) -> None:
        """Put frames into the backlog until told to stop or until the stream ends; runs in the thread."""
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
