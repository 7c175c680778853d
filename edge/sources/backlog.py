"""Frames of a live stream that wait to be taken: bounded, in order, and none is forgotten."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from ..errors import PartError
from .stream_frame import StreamFrame

MOST = 16  # frames whose pixels wait; about as many as a line has slots
MOST_LOST = 100_000  # frames without pixels that wait to become parts, while the line takes none


@dataclass
class _Waiting:
    frame: StreamFrame
    lost: str = ""


@dataclass(frozen=True)
class NextFrame:
    """A frame that is next, with what happened before it."""

    frame: StreamFrame
    lost: str  # why its pixels were let go
    skipped: int  # frames that were passed over since the last one was taken


class Backlog:
    """Where too many wait, the oldest gives up its pixels; with `newest`, all but the last are passed over."""

    def __init__(self, newest: bool) -> None:
        self._newest = newest
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._whole: deque[_Waiting] = deque()  # those that still have their pixels
        self._skipped = 0
        self._ended: str | None = None

    def put(self, frame: StreamFrame) -> None:
        """A frame came."""
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
        """No more will come."""
        with self._changed:
            self._ended = why
            self._changed.notify_all()

    def take(self, timeout_s: float) -> NextFrame | str | None:
        """The next frame; behind the last one why no more will come; None if nothing came in that time."""
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
    def pixels() -> NDArray[Any]:
        raise PartError("overrun", why)

    return replace(frame, pixels=pixels)
