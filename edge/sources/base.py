"""What a source of pictures is: it waits for the next trigger, then hands over that frame's pixels."""

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
    """A part stands before the camera; taken before any of its pixels move."""

    view: str
    captured_ns: int  # monotonic
    captured_at_ns: int  # wall clock, for people only
    source_ref: str = ""  # what the source calls the picture, such as the name of its file
    skipped: int = 0  # frames that were passed over since the last trigger
    lost: str = ""  # why there are no pixels, where more frames came than were taken; the part is `overrun`


@dataclass(frozen=True)
class EarlierPicture:
    """A picture that became a part earlier in this run."""

    source_ref: str  # as in the ledger
    captured_at_ns: int


class Source(Protocol):
    """Cheap to make; opened on `with`, where SourceError names what could not be opened."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def wait(self, timeout_s: float) -> Trigger | None:
        """The next part, or None if none came in that time.

        Raises SourceEnded behind the last frame, SourceError where a live camera stopped delivering.
        """
        ...

    def read(self, out: NDArray[np.uint8]) -> None:
        """Write the triggered frame into `out`, `(H, W)` grey or raw or `(H, W, 3)` BGR.

        Raises PartError where the frame is not such a picture; nothing is resized or converted silently.
        """
        ...


def deliver(picture: NDArray[Any], out: NDArray[np.uint8], name: str) -> None:
    """Copy a decoded picture into `out`; PartError names what was expected and what came."""
    found = one_channel(picture) if out.ndim == 2 else picture
    if found.shape != out.shape or found.dtype != out.dtype:
        raise PartError("frame", f"{name}: expected {_words(out)}, found {_words(found)}")
    np.copyto(out, found)


def deliver_frame(frame: StreamFrame, out: NDArray[np.uint8], name: str) -> None:
    """Decode a stream's frame and copy it into `out`, or say by PartError why not."""
    try:
        picture = frame.pixels()
    except PictureError as error:
        raise PartError("frame", str(error)) from error
    deliver(picture, out, f"{name}, {frame.ref}")


def _words(picture: NDArray[Any]) -> str:
    colour = "gray" if picture.ndim == 2 else "bgr" if picture.shape[2] == 3 else f"{picture.shape[2]} channels"
    depth = "" if picture.dtype == np.uint8 else f" {picture.dtype}"
    return f"{picture.shape[1]}x{picture.shape[0]} {colour}{depth}"
