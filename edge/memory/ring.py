"""Slots in shared memory that carry a part through the line: its frame, its model input, its outputs.

A slot is leased by capture, which counts up its generation; whoever comes later than that lease is told
so and never sees another part's picture.
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

Area = Literal["frame", "tensor", "outputs"]  # of the last two there is one for each judge


class Ring:
    """Fixed slots, each with an area for the frame and, for each judge, for its input and its outputs."""

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
        """Make a ring of `slots` slots; the sizes of the areas are in bytes, judge by judge."""
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
        return cls(SharedArrays.open(path))

    @property
    def slots(self) -> int:
        return len(self._owner)

    def memory(self, area: Area, number: int = 0) -> NDArray[np.uint8]:
        """An area of all slots, `(slots, bytes)`; for a device to pin, not to be read."""
        return self._areas[area, number]

    def free(self, published: int) -> int:
        """How many slots belong to no part that still waits for its verdict."""
        return int(np.count_nonzero(self._owner < published))

    def lease(self, entry: int, published: int) -> tuple[int, int] | None:
        """Give the slot that has been free longest to the part `entry`: (slot, generation), or None.

        `published` is how many parts have their verdict; verdicts come in order, so a slot is free once
        its part's number is below it. Of its outputs each page begins with a NaN from here on, so that what
        nobody writes passes no part. Only capture leases.
        """
        slot = int(self._owner.argmin())
        if self._owner[slot] >= published:
            return None
        generation = int(self._generation[slot]) + 1
        self._generation[slot] = generation
        self._owner[slot] = entry
        for output in self._outputs:
            output[slot, :: PAGE // 4] = np.nan
        fence()
        return slot, generation

    def check(self, part: Part) -> None:
        """Raise SlotOverwritten if the part's lease is over."""
        fence()
        if part.slot < 0 or self._generation[part.slot] != part.generation:
            raise SlotOverwritten(f"part {part.part_id}: slot {part.slot} belongs to a later part by now")

    @contextmanager
    def area(self, part: Part, area: Area, number: int = 0) -> Iterator[NDArray[np.uint8]]:
        """Lend the bytes of one area of the part's slot; raise if the lease ended before or meanwhile."""
        self.check(part)
        yield self._areas[area, number][part.slot]
        self.check(part)


def as_image(area: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The first bytes of an area as a uint8 array of this shape, without a copy."""
    return area[: int(np.prod(shape))].reshape(shape)


def as_outputs(area: NDArray[np.uint8], shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """The area as float32 arrays that lie one after another, without a copy."""
    found, offset, floats = {}, 0, area.view(np.float32)
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        found[name] = floats[offset : offset + count].reshape(shape)
        offset += count
    return found
