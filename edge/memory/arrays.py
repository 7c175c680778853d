"""Maps a file in shared memory as named numpy arrays, which all processes of the line share.

`multiprocessing.shared_memory` cannot be used: before Python 3.13 the exit of any reader removes the memory.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..errors import LineError

PAGE = mmap.PAGESIZE
_MAGIC = b"linejdg1"


class _Field(msgspec.Struct, frozen=True):
    name: str
    dtype: list[tuple[str, str]] | str
    shape: tuple[int, ...]
    offset: int


class SharedArrays:
    """Named arrays in one file. Arrays of a page or more begin at a page, so that a driver can pin them.

    The file also holds the names, dtypes and shapes of the arrays, so `open` needs only the path. All memory is
    allocated by `create`, so a full /dev/shm is an error at the start and not a crash during the run.
    """

    def __init__(self, path: Path, memory: mmap.mmap, fields: list[_Field]) -> None:
        self.path = path
        self._arrays: dict[str, NDArray[Any]] = {}
        for field in fields:
            dtype: np.dtype[Any] = np.dtype(field.dtype)
            count = int(np.prod(field.shape))
            flat = np.frombuffer(memory, dtype, count=count, offset=field.offset)
            self._arrays[field.name] = flat.reshape(field.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    @classmethod
    def create(
        cls,
        path: Path,
        arrays: dict[str, tuple[DTypeLike, tuple[int, ...]]],
        values: Mapping[str, ArrayLike] | None = None,
    ) -> SharedArrays:
        """Create the file with arrays that hold `values`, or zeros where none are given.

        The file gets its name once all this is in it, so nobody opens half of it. Raise LineError if the file
        exists or if memory is short.
        """
        fields, size = _laid_out(arrays)
        head = msgspec.msgpack.encode(fields)
        if len(head) + 12 > PAGE:
            raise ValueError(f"the description of {path.name} does not fit one page")
        hidden = ""
        try:
            fd, hidden = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            memory = _mapped(path, fd, size, head)
            made = cls(path, memory, fields)
            for name, value in (values or {}).items():
                made[name][:] = value
            os.link(hidden, path)  # fails if another has the name
        except OSError as error:
            raise LineError(f"{path}: cannot make shared memory: {error.strerror}") from error
        finally:
            if hidden:
                os.unlink(hidden)
        return made

    @classmethod
    def open(cls, path: Path) -> SharedArrays:
        """Map a file that `create` made. Raise LineError if the file is missing or of another kind."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise LineError(
                f"{path}: cannot open shared memory: {error.strerror}: is the line running?"
            ) from error
        try:
            size = os.fstat(fd).st_size
            head = os.pread(fd, PAGE, 0)
            length = int.from_bytes(head[8:12], "little")
            if head[:8] != _MAGIC or length + 12 > len(head):
                raise LineError(f"{path}: not the shared memory of a line of this version")
            fields = msgspec.msgpack.decode(head[12 : 12 + length], type=list[_Field])
            return cls(path, mmap.mmap(fd, size), fields)
        finally:
            os.close(fd)


def _laid_out(arrays: dict[str, tuple[DTypeLike, tuple[int, ...]]]) -> tuple[list[_Field], int]:
    """Return where each array lies in the file, and the file's size in bytes."""
    fields, offset = [], PAGE
    for name, (dtype, shape) in arrays.items():
        given = np.dtype(dtype)
        size = given.itemsize * int(np.prod(shape))
        step = PAGE if size >= PAGE else 64
        offset = -(-offset // step) * step
        described = [(str(n), str(given[n].str)) for n in given.names] if given.names else given.str
        fields.append(_Field(name, described, shape, offset))
        offset += size
    return fields, offset


def _mapped(path: Path, fd: int, size: int, head: bytes) -> mmap.mmap:
    """Allocate all memory of the file, write its head, map it, and close `fd`."""
    try:
        os.posix_fallocate(fd, 0, size)
        os.pwrite(fd, _MAGIC + len(head).to_bytes(4, "little") + head, 0)
        return mmap.mmap(fd, size)
    except OSError as error:
        raise LineError(
            f"{path}: {size / 2**20:.0f} MiB of shared memory are not available ({error.strerror}): "
            "lower timing.slots or the frame size, or give /dev/shm more room"
        ) from error
    finally:
        os.close(fd)


_order = (threading.Lock(), threading.Lock())


def fence() -> None:
    """Make all earlier writes to memory visible to other cores before any later write.

    x86 keeps this order by itself, Arm does not. Python has no memory barrier, but releasing one lock and then
    acquiring another is a barrier on x86 and on Arm (Arm Architecture Reference Manual, release/acquire).
    """
    for lock in _order:
        lock.acquire()
        lock.release()
