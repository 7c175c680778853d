"""Holds a frame of a stream: the time it came, and a function that decodes its pixels when they are needed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from ..errors import PictureError
from ..pictures import decode

#: Returns the pixels as the stream has them, `(H, W)` or `(H, W, C)`; raises PictureError if they cannot be
#: decoded.
Pixels = Callable[[], NDArray[Any]]


@dataclass(frozen=True)
class StreamFrame:
    """One frame of a stream. If the frame is damaged, reading its pixels raises an error."""

    captured_ns: int  # monotonic
    captured_at_ns: int  # wall clock, for people only
    ref: str  # its name in the stream, such as `frame 12`
    pixels: Pixels
    count: int = -1  # the camera's own number of the frame; -1: it does not count


def encoded(
    data: bytes, name: str, ref: str, wrong: str = "", captured_ns: int = 0, count: int = -1
) -> StreamFrame:
    """Return the frame whose encoded picture is `data`. If `wrong` is not empty, mark the frame as damaged."""
    frame = (
        damaged(wrong, name, ref, captured_ns)
        if wrong
        else _frame(ref, partial(decode, data, f"{name}, {ref}"), captured_ns)
    )
    return replace(frame, count=count)


def decoded(pixels: Pixels, ref: str) -> StreamFrame:
    """Return a frame that came just now and is already decoded. The function `pixels` returns its pixels."""
    return _frame(ref, pixels, 0)


def damaged(wrong: str, name: str, ref: str, captured_ns: int = 0) -> StreamFrame:
    """Return a damaged frame. Reading its pixels raises a PictureError that ends with the text `wrong`."""

    def pixels() -> NDArray[Any]:
        raise PictureError(f"{name}, {ref}: {wrong}")

    return _frame(ref, pixels, captured_ns)


def _frame(ref: str, pixels: Pixels, captured_ns: int) -> StreamFrame:
    now_ns = time.monotonic_ns()
    captured_ns = captured_ns or now_ns
    return StreamFrame(captured_ns, time.time_ns() - (now_ns - captured_ns), ref, pixels)
