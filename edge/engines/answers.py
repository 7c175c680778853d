"""Keeps the outputs of a lane's network in one piece of GPU memory, and brings them to the CPU in one copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..memory.ring import as_outputs, forget_outputs, outputs_nbytes
from .base import Image, Outputs
from .cuda import Pinned, driver_errors, driver_library

Shapes = dict[str, tuple[int, ...]]


class Answers:
    """The outputs of up to `batch` samples, on the GPU and in the CPU's memory.

    They are laid out as in a slot. So one copy brings them, and those of a single sample go straight into its
    slot.
    """

    def __init__(self, pinned: Pinned, shapes: Mapping[str, tuple[int, ...]], batch: int) -> None:
        """Allocate the memory. `shapes` are those of one sample, `(1, ...)`; all outputs are float32."""
        self._cuda, self._pinned, self._shapes = driver_library(), pinned, dict(shapes)
        nbytes = outputs_nbytes(self._of(batch))
        with driver_errors("creating a lane"):
            self._memory = self._cuda.mem_alloc(nbytes)
        self._staged, _ = pinned.empty((nbytes,), np.uint8)
        # By the number of samples, the GPU's address of each output.
        self._addresses = {count: self._places(count) for count in range(1, batch + 1)}
        self._brought: list[Outputs] = []

    def addresses(self, count: int) -> dict[str, int]:
        """Return the GPU's addresses at which the network must write the outputs of `count` samples."""
        return self._addresses[count]

    def bring(self, count: int, slot: Image | None, stream: Any) -> None:
        """Queue the copy of the outputs of `count` samples, into `slot` if it can take them as they are.

        `slot` is the area for outputs, `(bytes,)` uint8, of the first sample's slot. Until the copy is done, it
        says that nobody wrote the outputs.
        """
        shapes = self._of(count)
        to = self._staged
        if slot is not None and count == 1 and self._pinned.holds(slot):
            forget_outputs(slot)
            to = slot
        to = to[: outputs_nbytes(shapes)]
        self._cuda.memcpy_dtoh_async(to, self._memory, stream)
        arrays = as_outputs(to, shapes)
        self._brought = [
            {name: array[number : number + 1] for name, array in arrays.items()} for number in range(count)
        ]

    def read(self) -> list[Outputs]:
        """Return each sample's outputs of the last `bring`, float32. The copy must be done."""
        return self._brought

    def _of(self, count: int) -> Shapes:
        return {name: (count * shape[0], *shape[1:]) for name, shape in self._shapes.items()}

    def _places(self, count: int) -> dict[str, int]:
        arrays: dict[str, NDArray[np.float32]] = as_outputs(self._staged, self._of(count))
        start = int(self._memory) - self._staged.ctypes.data
        return {name: start + array.ctypes.data for name, array in arrays.items()}
