"""Tells how much memory this process has for itself, and gives back to the system what it has freed."""

from __future__ import annotations

import ctypes
import mmap
import os

STATM = "/proc/self/statm"


def own_memory(statm: int | None = None) -> int:
    """Return the bytes of memory that this process shares with nobody.

    `statm` is the descriptor of STATM, if this process has opened it, and works where no file can be opened.
    """
    if statm is None:
        with open(STATM, "rb") as file:
            return own_memory(file.fileno())
    _, resident, shared, *_ = map(int, os.pread(statm, 200, 0).split())
    return (resident - shared) * mmap.PAGESIZE


def give_back() -> None:
    """Give memory that was freed back to the system, where the C library can: malloc_trim(3) of glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
