"""A frame as a stream delivered it: when, and how to get its pixels, which are decoded once they are wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray

from ..errors import PictureError
from ..pictures import decode

#: `(H, W)` or `(H, W, C)`, as the stream has them; raises PictureError where there are none.
Pixels = Callable[[], NDArray[Any]]


@dataclass(frozen=True)
class StreamFrame:
    """One frame of a stream, or what came in its place."""

    captured_ns: int  # monotonic
    captured_at_ns: int  # wall clock, for people only
    ref: str  # what the stream calls it
    pixels: Pixels


def encoded(data: bytes, name: str, ref: str, wrong: str = "", captured_ns: int = 0) -> StreamFrame:
    """A frame that came as one encoded picture; `wrong` says what is known to be wrong with it already."""
    if wrong:
        return damaged(wrong, name, ref, captured_ns)
    return _frame(ref, partial(decode, data, f"{name}, {ref}"), captured_ns)


def decoded(pixels: Pixels, ref: str) -> StreamFrame:
    """A frame that a decoder has in its own form."""
    return _frame(ref, pixels, 0)


def damaged(wrong: str, name: str, ref: str, captured_ns: int = 0) -> StreamFrame:
    """A frame whose pixels nobody is to see."""

    def pixels() -> NDArray[Any]:
        raise PictureError(f"{name}, {ref}: {wrong}")

    return _frame(ref, pixels, captured_ns)


def _frame(ref: str, pixels: Pixels, captured_ns: int) -> StreamFrame:
    now_ns = time.monotonic_ns()
    captured_ns = captured_ns or now_ns
    return StreamFrame(captured_ns, time.time_ns() - (now_ns - captured_ns), ref, pixels)
