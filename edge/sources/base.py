"""Defines what every source of pictures does: wait for the next part, and read the pixels of that part."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import PartError, PictureError
from ..image.picture import one_channel
from .stream_frame import StreamFrame


@dataclass(frozen=True)
class Trigger:
    """The event that a part is in front of the camera. The part's pixels have not been read yet."""

    view: str
    captured_ns: int  # monotonic
    captured_at_ns: int  # wall clock, for people only
    source_ref: str = ""  # the source's name for the picture, such as its file's path
    skipped: int = 0  # frames skipped since the last trigger
    lost: str = ""  # why the pixels were dropped; then the part is `overrun`
    count: int = -1  # the source's own number of this trigger; -1: the source does not count


@dataclass(frozen=True)
class EarlierPicture:
    """A picture that became a part before the capture process was restarted."""

    source_ref: str  # as in the ledger
    captured_at_ns: int
    captured_ns: int = 0
    count: int = -1  # as in its trigger


class Source(Protocol):
    """A source of a line's frames. `with` opens the source, and raises SourceError if that is impossible."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def wait(self, timeout_s: float) -> Trigger | None:
        """Wait for the next part. Return its trigger, or None if no part came within `timeout_s` seconds.

        Raises SourceEnded after the last frame, and SourceError if a camera stopped sending frames.
        """
        ...

    def read(self, out: NDArray[np.uint8]) -> None:
        """Write the frame of the last trigger into `out`: `(H, W)` grey or raw, or `(H, W, 3)` BGR, uint8.

        Raises PartError if the frame has another shape or dtype. A frame is never resized or converted.
        """
        ...


def deliver(picture: NDArray[Any], out: NDArray[np.uint8], name: str) -> None:
    """Copy a decoded picture into `out`, which is `(H, W)` or `(H, W, 3)` BGR uint8.

    If `out` has one channel, a grey picture in three channels is copied as one channel. Raises PartError,
    whose text starts with `name`, if the picture has another shape or dtype.
    """
    found = one_channel(picture) if out.ndim == 2 else picture
    if found.shape != out.shape or found.dtype != out.dtype:
        raise PartError("frame", f"{name}: expected {_format_of(out)}, found {_format_of(found)}")
    np.copyto(out, found)


def deliver_frame(frame: StreamFrame, out: NDArray[np.uint8], name: str) -> None:
    """Decode a frame into `out`, `(H, W)` or `(H, W, 3)` uint8. Raises PartError if that is impossible."""
    try:
        picture = frame.pixels()
    except PictureError as error:
        raise PartError("frame", str(error)) from error
    deliver(picture, out, f"{name}, {frame.ref}")


def _format_of(picture: NDArray[Any]) -> str:
    """Return the size, colour and depth of a `(H, W)` or `(H, W, C)` picture as a text for error messages."""
    colour = "gray" if picture.ndim == 2 else "bgr" if picture.shape[2] == 3 else f"{picture.shape[2]} channels"
    depth = "" if picture.dtype == np.uint8 else f" {picture.dtype}"
    return f"{picture.shape[1]}x{picture.shape[0]} {colour}{depth}"
