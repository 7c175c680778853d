"""Keeps slots in shared memory, each with one part's frame, its model inputs and its outputs.

Capture leases a slot to a part and counts up the slot's generation. A stage that reads with an earlier
generation gets an error, and never another part's picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import SlotOverwritten
from ..messages import Part
from .arrays import PAGE, SharedArrays, fence

#: The areas of a slot: one `frame`, and a `tensor` and an `outputs` for each judge.
Area = Literal["frame", "tensor", "outputs"]
#: The slot and generation of a part that got no slot.
NO_LEASE = (-1, 0)


class Ring:
    """A fixed number of slots. Each has an area for the frame, and two for each judge: input and outputs."""

    def __init__(self, arrays: SharedArrays) -> None:
        self._generation = arrays["generation"]
        self._owner = arrays["owner"]
        self._areas: dict[tuple[str, int], NDArray[np.uint8]] = {}
        for name in arrays:
            area, _, number = name.partition(".")
            if number:
                self._areas[area, int(number)] = arrays[name]
        self._outputs = [
            memory.view(np.float32) for (area, _), memory in self._areas.items() if area == "outputs"
        ]

    @classmethod
    def create(
        cls, path: Path, *, slots: int, frame: int, tensors: Sequence[int], outputs: Sequence[int]
    ) -> Ring:
        """Make a ring of `slots` slots; sizes are in bytes, those of `tensors` and `outputs` judge by judge.

        Raises LineError where the memory is not available.
        """
        sizes = {"frame.0": frame}
        sizes |= {f"tensor.{number}": size for number, size in enumerate(tensors)}
        sizes |= {f"outputs.{number}": size for number, size in enumerate(outputs)}
        areas = {name: (np.uint8, (slots, -(-size // PAGE) * PAGE)) for name, size in sizes.items()}
        table = {"generation": (np.int64, (slots,)), "owner": (np.int64, (slots,))}
        arrays = SharedArrays.create(path, {**table, **areas})
        arrays["owner"][:] = -1
        return cls(arrays)

    @classmethod
    def open(cls, path: Path) -> Ring:
        """Map the ring that `create` made; raise LineError where it is missing."""
        return cls(SharedArrays.open(path))

    @property
    def slots(self) -> int:
        """Number of slots."""
        return len(self._owner)

    def memory(self, area: Area, number: int = 0) -> NDArray[np.uint8]:
        """Return one area of all slots, `(slots, bytes)` uint8, for a device to pin; read by `area` instead."""
        return self._areas[area, number]

    def free(self, published: int) -> int:
        """Return the number of free slots; `published` is the number of parts that have their verdict."""
        return int(np.count_nonzero(self._owner < published))

    def lease(self, entry: int, published: int) -> tuple[int, int]:
        """Lease the slot that has been free longest to the part `entry`; return its number and generation.

        Returns NO_LEASE where no slot is free. `published` is the number of parts that have their verdict.
        Verdicts come in order, so a slot is free once its part's number is below `published`. Sets the start of
        each page of the outputs to NaN, so that outputs which nobody writes cannot pass a part. Only capture
        leases.
        """
        slot = int(self._owner.argmin())
        if self._owner[slot] >= published:
            return NO_LEASE
        generation = int(self._generation[slot]) + 1
        self._generation[slot] = generation
        self._owner[slot] = entry
        for output in self._outputs:
            output[slot, :: PAGE // 4] = np.nan
        fence()
        return slot, generation

    def check(self, part: Part) -> None:
        """Raise SlotOverwritten if the part has no slot, or if its slot is leased to a later part."""
        fence()
        if part.slot < 0 or self._generation[part.slot] != part.generation:
            raise SlotOverwritten(f"part {part.part_id}: slot {part.slot} belongs to a later part by now")

    @contextmanager
    def area(self, part: Part, area: Area, number: int = 0) -> Iterator[NDArray[np.uint8]]:
        """Yield one area of the part's slot, `(bytes,)` uint8; raise SlotOverwritten if its lease is over."""
        self.check(part)
        yield self._areas[area, number][part.slot]
        self.check(part)


def as_image(area: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the start of an area, `(bytes,)` uint8, as a uint8 view of this shape; copies nothing."""
    return area[: int(np.prod(shape))].reshape(shape)


def as_outputs(area: NDArray[np.uint8], shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Return consecutive parts of an area, `(bytes,)` uint8, as float32 views of these shapes, by name."""
    found, offset, floats = {}, 0, area.view(np.float32)
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        found[name] = floats[offset : offset + count].reshape(shape)
        offset += count
    return found
