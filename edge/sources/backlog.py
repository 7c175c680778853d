"""Holds the frames of a live stream until they are taken: in order, in bounded memory, and each is counted."""

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
    """The next frame, and what happened to frames before it."""

    frame: StreamFrame
    lost: str  # why its pixels were dropped, or empty
    skipped: int  # frames skipped since the last one was taken


class Backlog:
    """A queue of frames: once it is full the oldest loses its pixels; if `newest`, only the last is kept."""

    def __init__(self, newest: bool) -> None:
        self._newest = newest
        self._changed = threading.Condition()
        # All waiting frames, and those of them that still have their pixels.
        self._waiting: deque[_Waiting] = deque()
        self._whole: deque[_Waiting] = deque()
        self._skipped = 0
        self._ended: str | None = None

    def put(self, frame: StreamFrame) -> None:
        """Add a frame that came."""
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
        """Tell that no more frames will come, and why."""
        with self._changed:
            self._ended = why
            self._changed.notify_all()

    def take(self, timeout_s: float) -> NextFrame | str | None:
        """Return the next frame; the reason behind the last frame; or None if nothing came within the time."""
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
    """Return the frame with pixels that raise PartError, so that the picture's memory is freed."""

    def pixels() -> NDArray[Any]:
        raise PartError("overrun", why)

    return replace(frame, pixels=pixels)
