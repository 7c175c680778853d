"""Ctrl-C into a stop between two steps of a long run: no file is left half written, no process half started."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def keeping_ctrl_c() -> Iterator[Callable[[], None]]:
    """Gives the function at whose next call a Ctrl-C is raised; a second one is raised where it comes.

    Where somebody else answers Ctrl-C, nothing is changed.
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
