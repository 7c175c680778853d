"""Warps frames on the GPU. Of a frame, only the pixels that its judges read are copied there, once for all."""

from __future__ import annotations

import logging
import struct
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..image.warp import Warp
from .base import Image, Region
from .cuda import ALIGNMENT, Pinned, driver_library

#: The kernel's parameters: addresses of frame, master, mask and input, then what `Warp.arguments` returns.
_PARAMETERS = struct.Struct("4P12i6f3i")
#: Runs by which a way to read frames is timed. The first is left out.
_RUNS = 3
_log = logging.getLogger(__name__)


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
        # Whether frames are copied that the GPU can read where they are; None until both were timed.
        self._copies: bool | None = None

    def queue(
        self, frame: Image, warp: Warp, region: Region, under: int, ignored: int, at: int, stream: Any
    ) -> None:
        """Queue the warp of `frame`, which must not change until it is done, into a model's input.

        `under`, `ignored` and `at` are the GPU's addresses of the master, of the mask of ignored pixels (both 0
        for none) and of the input. The frame's region is copied first, unless another judge has had it copied.

        An integrated GPU needs no copy, but without one it reads each pixel several times, from memory that
        many of them do not cache ("Memory Selection" in NVIDIA's CUDA for Tegra). Which is faster depends on
        the GPU and on the frame. So both are timed with the first frame in pinned memory, that of the warm-up.
        No figure has to be kept with the engine, and none comes from frames of another size.
        """
        frame = np.ascontiguousarray(frame)

        def launch(place: int, pitch: int) -> None:
            parameters = _PARAMETERS.pack(place, under, ignored, at, *warp.arguments(pitch))
            # pycuda's public call does this after one that sets the block's shape, which CUDA 4 made needless.
            self._kernel._launch_kernel(warp.grid, warp.block, parameters, 0, stream)

        mapped = self._pinned.address(frame)
        if mapped is None:
            launch(*self._brought(frame, region, stream))
            return
        if self._copies is None:
            self._copies = self._copying_is_faster(frame, mapped, region, launch, stream)
        launch(*(self._brought(frame, region, stream) if self._copies else (mapped, frame.strides[0])))

    def _copying_is_faster(
        self, frame: Image, mapped: int, region: Region, launch: Callable[[int, int], None], stream: Any
    ) -> bool:
        """Return whether to copy a frame's region and then warp it is faster than to warp it where it is."""

        def copied() -> None:
            copy = self._copy(frame, region, stream)
            launch(copy.frame, copy.pitch)

        in_place_ms = self._took_ms(lambda: launch(mapped, frame.strides[0]), stream)
        copied_ms = self._took_ms(copied, stream)
        _log.info("warping a frame takes %.2f ms where it is, %.2f ms with a copy", in_place_ms, copied_ms)
        return copied_ms < in_place_ms

    def _took_ms(self, queue: Callable[[], None], stream: Any) -> float:
        """Return the least time that the GPU took for what `queue` queues."""
        start, end = (self._cuda.Event(self._cuda.event_flags.BLOCKING_SYNC) for _ in range(2))
        taken_ms = []
        for _ in range(_RUNS):
            start.record(stream)
            queue()
            end.record(stream)
            end.synchronize()
            taken_ms.append(float(start.time_till(end)))
        return min(taken_ms[1:])

    def _brought(self, frame: Image, region: Region, stream: Any) -> tuple[int, int]:
        """Return the GPU's address of the frame's first pixel, and the bytes from one row to the next."""
        if region.copy is None:
            region.copy = self._copy(frame, region, stream)
        elif region.copy.stream is not stream:
            stream.wait_for_event(region.copy.done)
        return region.copy.frame, region.copy.pitch

    def _copy(self, frame: Image, region: Region, stream: Any) -> _Copy:
        """Queue one copy of a frame's region to the GPU."""
        (left, top, right, bottom), pixel = region.box, frame.nbytes // (frame.shape[0] * frame.shape[1])
        # Memory for the region of any part, so that each finds room where another was.
        first, highest, end, lowest = region.reach
        number = self._room(_pitch((end - first) * pixel) * (lowest - highest))
        memory, _, done = self._memory[number]
        copy = self._cuda.Memcpy2D()
        copy.set_src_host(frame)
        copy.src_pitch, copy.src_x_in_bytes, copy.src_y = frame.strides[0], left * pixel, top
        copy.set_dst_device(memory)
        copy.width_in_bytes, copy.height = (right - left) * pixel, bottom - top
        copy.dst_pitch = pitch = _pitch(copy.width_in_bytes)
        copy(stream)
        if region.readers > 1:
            done.record(stream)
        made = _Copy(int(memory) - top * pitch - left * pixel, pitch, stream, done)
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


def _pitch(width: int) -> int:
    """Return the bytes from one row to the next for rows of `width` bytes."""
    return -(-width // ALIGNMENT) * ALIGNMENT
