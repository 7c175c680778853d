"""Plays a video file: each frame becomes a part, at the file's rate or as fast as the line can take parts."""

from __future__ import annotations

import time
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from .. import recipe
from ..documents.address import without_secrets
from ..errors import SourceEnded, SourceError
from .base import Trigger, deliver_frame
from .pace import Pace
from .stream_frame import StreamFrame
from .streams.container import open_container


class VideoFile:
    """A source of a video file's frames. A frame that is damaged or cut off becomes a part too."""

    def __init__(self, section: recipe.Video) -> None:
        self._section = section
        self._name = without_secrets(section.address)

    def __enter__(self) -> VideoFile:
        if self._section.newest:
            raise SourceError(
                f"{self._name}: [source] newest is for cameras, and each frame of a file is a part: "
                "take the key out"
            )
        opened = open_container(self._section.address, live=False)
        if self._section.paced and not opened.fps > 0:
            raise SourceError(f"{self._name}: the file has no frame rate: set [source] paced = false")
        self._pace = Pace(opened.fps) if self._section.paced else None
        self._frames, self._count = opened.frames, 0
        self._next: StreamFrame | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Ending the generator closes the file.
        del self._frames

    def wait(self, timeout_s: float) -> Trigger | None:
        """Return the next frame's trigger, or None if the frame is not due within `timeout_s` seconds."""
        self._next = self._next or next(self._frames, None)
        if self._next is None:
            raise SourceEnded(f"{self._name}: all {self._count} frames have been shown")
        view, ref = self._section.camera, self._next.ref
        trigger = (
            self._pace.wait(timeout_s, view, ref)
            if self._pace
            else Trigger(view, time.monotonic_ns(), time.time_ns(), ref)
        )
        if trigger is not None:
            self._shown, self._next = self._next, None
            self._count += 1
        return trigger

    def read(self, out: NDArray[np.uint8]) -> None:
        """Write the triggered frame into `out`, `(H, W)` or `(H, W, 3)` uint8; on failure raise PartError."""
        deliver_frame(self._shown, out, self._name)
