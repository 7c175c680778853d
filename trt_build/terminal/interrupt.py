"""Delays Ctrl-C until the end of a step of a long run, so that no file is left half written."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def keeping_ctrl_c() -> Iterator[Callable[[], None]]:
    """Delay Ctrl-C in the `with` block. Yield a function that raises KeyboardInterrupt if Ctrl-C was pressed.

    Call the function wherever the block may be interrupted. A second Ctrl-C interrupts the block at once. If
    another handler of SIGINT is set, nothing is delayed: that handler gets Ctrl-C.
    """
    received: list[int] = []

    def stop_if_asked() -> None:
        if received:
            raise KeyboardInterrupt

    def keep(number: int, frame: FrameType | None) -> None:
        stop_if_asked()
        received.append(number)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield stop_if_asked
        return
    signal.signal(signal.SIGINT, keep)
    try:
        yield stop_if_asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
