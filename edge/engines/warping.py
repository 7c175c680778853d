"""Warps frames on the GPU. Of a frame, only the pixels that its judges read are copied there, once for all."""

from __future__ import annotations

import struct
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..image.warp import Warp
from .base import Image, Region
from .cuda import ALIGNMENT, Pinned, driver_library

#: The kernel's parameters: addresses of frame, master, mask and input, then what `Warp.arguments` returns.
_PARAMETERS = struct.Struct("4P12i6f3i")


@dataclass(eq=False)
class _Copy:
    """A region of a frame in GPU memory. The memory is reused when this object is gone."""

    frame: int  # address at which the frame's first pixel would lie if all of the frame had been copied
    pitch: int  # bytes from one row to the next
    stream: Any  # the stream on which it is copied
    done: Any  # event after the copy, recorded only if other streams read it too


class Warping:
    """The kernel that warps frames, and memory on the GPU for the regions of frames that lanes work on.

    The judges of a part share one copy, which the first of them makes. It stays until no lane holds its Region
    any more, and a lane holds it until its work is done.
    """

    def __init__(self, kernel: Any, pinned: Pinned) -> None:
        self._cuda, self._kernel, self._pinned = driver_library(), kernel, pinned
        # Memory for one region each, its bytes, and an event. It is freed with this object even where a region
        # is still held, since the device is released then.
        self._memory: list[tuple[Any, int, Any]] = []
        # Numbers of those that no region uses.
        self._free: list[int] = []

    def queue(
        self, frame: Image, warp: Warp, region: Region, under: int, ignored: int, at: int, stream: Any
    ) -> None:
        """Queue the warp of `frame`, which must not change until it is done, into a model's input.

        `under`, `ignored` and `at` are the GPU's addresses of the master, of the mask of ignored pixels (both 0
        for none) and of the input. If the GPU cannot read the frame where it is, its region is copied first,
        unless another judge has already had it copied.
        """
        place, pitch = self._bring(np.ascontiguousarray(frame), region, stream)
        parameters = _PARAMETERS.pack(place, under, ignored, at, *warp.arguments(pitch))
        # pycuda's public call does this after a call that sets the block's shape, which CUDA 4 made needless.
        self._kernel._launch_kernel(warp.grid, warp.block, parameters, 0, stream)

    def _bring(self, frame: Image, region: Region, stream: Any) -> tuple[int, int]:
        """Return the GPU's address of the frame's first pixel, and the bytes from one row to the next."""
        mapped = self._pinned.address(frame)
        if mapped is not None:
            return mapped, frame.strides[0]
        if region.copy is None:
            region.copy = self._copy(frame, region, stream)
        elif region.copy.stream is not stream:
            stream.wait_for_event(region.copy.done)
        return region.copy.frame, region.copy.pitch

    def _copy(self, frame: Image, region: Region, stream: Any) -> _Copy:
        """Queue one copy of a frame's region to the GPU."""
        pixel, rows = frame.nbytes // (frame.shape[0] * frame.shape[1]), region.bottom - region.top
        width = (region.right - region.left) * pixel
        pitch = -(-width // ALIGNMENT) * ALIGNMENT
        number = self._room(pitch * rows)
        memory, _, done = self._memory[number]
        copy = self._cuda.Memcpy2D()
        copy.set_src_host(frame)
        copy.src_pitch, copy.src_x_in_bytes, copy.src_y = frame.strides[0], region.left * pixel, region.top
        copy.set_dst_device(memory)
        copy.dst_pitch, copy.width_in_bytes, copy.height = pitch, width, rows
        copy(stream)
        if region.readers > 1:
            done.record(stream)
        made = _Copy(int(memory) - region.top * pitch - region.left * pixel, pitch, stream, done)
        weakref.finalize(made, self._free.append, number).atexit = False
        return made

    def _room(self, nbytes: int) -> int:
        """Return the number of free memory for a region. Allocating happens with the first parts only."""
        for number in self._free:
            if self._memory[number][1] >= nbytes:
                self._free.remove(number)
                return number
        event = self._cuda.Event(self._cuda.event_flags.DISABLE_TIMING)
        self._memory.append((self._cuda.mem_alloc(nbytes), nbytes, event))
        return len(self._memory) - 1
