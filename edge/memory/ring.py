"""Keeps slots in shared memory. Each slot has one part's frame, its model inputs and its outputs.

Capture leases a slot to a part and increases the slot's generation, which counts its leases. If a stage
reads a part whose slot was leased again, the stage gets an error and never another part's picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import SlotOverwritten
from ..messages import UNSEEN_SLOT, Part
from .arrays import PAGE, SharedArrays, fence

#: The areas of a slot: one `frame`, and a `tensor` and an `outputs` for each judge.
Area = Literal["frame", "tensor", "outputs"]
#: Each output in a slot starts at a multiple of this many bytes. TensorRT needs such addresses
#: (`setTensorAddress` in NvInferRuntime.h), so its outputs can be laid out alike on the GPU, and one copy
#: brings them into the slot.
OUTPUT_ALIGNMENT = 256
#: The slot and generation of a part that got no slot.
NO_LEASE = (-1, 0)
#: The slot and generation of a part that nobody saw.
UNSEEN = (UNSEEN_SLOT, 0)


class Ring:
    """A fixed number of slots. Each has areas for the frame and for the input and the outputs of each judge."""

    def __init__(self, arrays: SharedArrays) -> None:
        self._generation = arrays["generation"]
        self._owner = arrays["owner"]
        self._filled = arrays["filled"]
        self._areas: dict[tuple[str, int], NDArray[np.uint8]] = {}
        for name in arrays:
            area, _, number = name.partition(".")
            if number:
                self._areas[area, int(number)] = arrays[name]
        self._outputs = [memory for (area, _), memory in self._areas.items() if area == "outputs"]

    @classmethod
    def create(
        cls, path: Path, *, slots: int, frame: int, tensors: Sequence[int], outputs: Sequence[int]
    ) -> Ring:
        """Create a ring of `slots` slots. `tensors` and `outputs` list each judge's size. Sizes are in bytes.

        Raise LineError if there is not enough memory for the slots.
        """
        sizes = {"frame.0": frame}
        sizes |= {f"tensor.{number}": size for number, size in enumerate(tensors)}
        sizes |= {f"outputs.{number}": size for number, size in enumerate(outputs)}
        areas = {name: (np.uint8, (slots, -(-size // PAGE) * PAGE)) for name, size in sizes.items()}
        table = {name: (np.int64, (slots,)) for name in ("generation", "owner", "filled")}
        return cls(SharedArrays.create(path, {**table, **areas}, {"owner": -1}))

    @classmethod
    def open(cls, path: Path) -> Ring:
        """Map the file of a ring that `create` made. Raise LineError if the file is missing."""
        return cls(SharedArrays.open(path))

    @property
    def slots(self) -> int:
        """The number of slots."""
        return len(self._owner)

    def memory(self, area: Area, number: int = 0) -> NDArray[np.uint8]:
        """Return one area of all slots as `(slots, bytes)` uint8, for pinning. To read a part, use `area`."""
        return self._areas[area, number]

    def free(self, published: int) -> int:
        """Return the number of free slots. `published` is the number of parts that have their verdict."""
        return int(np.count_nonzero(self._owner < published))

    def lease(self, entry: int, published: int) -> tuple[int, int]:
        """Lease to the part `entry` the slot that was free longest. Return the slot's number and generation.

        Return NO_LEASE if no slot is free. `published` is the number of parts that have their verdict. Verdicts
        come in order, so a slot is free once its part's number is below `published`. The start of each page of
        the outputs is set to NaN, so that a part cannot pass if no engine writes the outputs. Only capture may
        lease.
        """
        slot = int(self._owner.argmin())
        if self._owner[slot] >= published:
            return NO_LEASE
        generation = int(self._generation[slot]) + 1
        self._generation[slot] = generation
        self._owner[slot] = entry
        for area in self._outputs:
            forget_outputs(area[slot])
        fence()
        return slot, generation

    def set_filled(self, part: Part) -> None:
        """Show that the slot holds the part's whole frame. Only capture may call this."""
        fence()
        self._filled[part.slot] = part.generation

    def is_filled(self, part: Part) -> bool:
        """Return whether capture has written the part's whole frame. It may be overwritten at any moment."""
        found = part.slot >= 0 and int(self._filled[part.slot]) == part.generation
        fence()
        return found

    def check(self, part: Part) -> None:
        """Raise SlotOverwritten if the part has no slot, or if its slot is leased to a later part."""
        fence()
        if part.slot < 0 or self._generation[part.slot] != part.generation:
            raise SlotOverwritten(f"part {part.part_id}: slot {part.slot} belongs to a later part by now")

    @contextmanager
    def area(self, part: Part, area: Area, number: int = 0) -> Iterator[NDArray[np.uint8]]:
        """Yield one area of the part's slot as `(bytes,)` uint8. `number` is the number of the judge.

        Raise SlotOverwritten if the slot is leased to a later part, before or during the `with` block.
        """
        self.check(part)
        yield self._areas[area, number][part.slot]
        self.check(part)


def as_image(area: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the start of an area `(bytes,)` uint8 as an array of this shape. Nothing is copied."""
    return area[: int(np.prod(shape))].reshape(shape)


def as_outputs(area: NDArray[np.uint8], shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Return an area `(bytes,)` uint8 as float32 arrays of these shapes, in this order. Nothing is copied.

    Each array starts at a multiple of OUTPUT_ALIGNMENT.
    """
    found, offset = {}, 0
    for name, shape in shapes.items():
        nbytes = 4 * math.prod(shape)
        found[name] = area[offset : offset + nbytes].view(np.float32).reshape(shape)
        offset += -(-nbytes // OUTPUT_ALIGNMENT) * OUTPUT_ALIGNMENT
    return found


def outputs_nbytes(shapes: dict[str, tuple[int, ...]]) -> int:
    """Return the size of an area that `as_outputs` divides into arrays of these shapes."""
    end = start = 0
    for shape in shapes.values():
        end = start + 4 * math.prod(shape)
        start += -(-4 * math.prod(shape) // OUTPUT_ALIGNMENT) * OUTPUT_ALIGNMENT
    return end


def forget_outputs(area: NDArray[np.uint8]) -> None:
    """Make an area for outputs, `(bytes,)` uint8, say that nobody wrote it: NaN at the start of each page."""
    area.view(np.float32)[:: PAGE // 4] = np.nan
