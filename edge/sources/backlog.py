"""Queues a live stream's frames until the line takes them, in limited memory. No frame is lost silently."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from ..errors import PartError
from .stream_frame import StreamFrame

#: Waiting frames that keep their pixels: about as many as a line has slots.
MOST = 16
#: Waiting frames in all, most of them without pixels: they become parts once the line takes some again.
MOST_LOST = 100_000


@dataclass
class _Waiting:
    frame: StreamFrame
    lost: str = ""


@dataclass(frozen=True)
class NextFrame:
    """The next frame, the number of frames skipped before it, and, if its pixels were dropped, the reason."""

    frame: StreamFrame
    lost: str  # why its pixels were dropped, or empty
    skipped: int  # frames skipped since the last one was taken


class Backlog:
    """A queue of frames, of which at most MOST have pixels. If `newest` is true, only the last frame stays."""

    def __init__(self, newest: bool) -> None:
        self._newest = newest
        self._changed = threading.Condition()
        # All waiting frames, and those of them that still have their pixels.
        self._waiting: deque[_Waiting] = deque()
        self._whole: deque[_Waiting] = deque()
        self._skipped = 0
        self._ended: str | None = None

    def put(self, frame: StreamFrame) -> None:
        """Add a new frame. If MOST frames have pixels already, drop the pixels of the oldest of these."""
        with self._changed:
            if self._newest:
                self._skipped += len(self._waiting)
                self._waiting.clear()
                self._whole.clear()
            elif len(self._whole) == MOST:
                oldest = self._whole.popleft()
                oldest.lost = f"{MOST} newer frames came before it was taken"
                oldest.frame = _without_pixels(oldest.frame, oldest.lost)
            if len(self._waiting) == MOST_LOST:
                self._waiting.popleft()
                self._skipped += 1
            waiting = _Waiting(frame)
            self._waiting.append(waiting)
            self._whole.append(waiting)
            self._changed.notify_all()

    def end(self, why: str) -> None:
        """Mark the end of the stream. `why` is the reason, which `take` returns after the last frame."""
        with self._changed:
            self._ended = why
            self._changed.notify_all()

    def take(self, timeout_s: float) -> NextFrame | str | None:
        """Wait for the next frame and return it, or None if no frame came within `timeout_s` seconds.

        After the last frame, return a text that says why the stream ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended is not None, timeout_s)
            if not self._waiting:
                return self._ended
            waiting = self._waiting.popleft()
            if not waiting.lost:
                self._whole.popleft()
            skipped, self._skipped = self._skipped, 0
            return NextFrame(waiting.frame, waiting.lost, skipped)


def _without_pixels(frame: StreamFrame, why: str) -> StreamFrame:
    """Return the frame without pixels, which frees their memory. Reading the pixels raises PartError."""

    def pixels() -> NDArray[Any]:
        raise PartError("overrun", why)

    return replace(frame, pixels=pixels)
