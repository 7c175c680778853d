"""Loses the GPU for good, by a kernel that writes where no memory is, and prints what each later use says.

CUDA calls such an error sticky: after it every call of this process fails, whatever it is for. So this runs as
a process of its own. It prints a list in JSON: for each use, the class and the text of its error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edge.engines.base import Sample
from edge.engines.cuda import Device, Pinned, driver_errors, driver_library, open_device
from edge.engines.lanes import Binding, Lane
from edge.errors import EngineError

NOWHERE = 1 << 46
#: fault(to): write a number to the address `to`. In PTX, so that it needs no compiler but the driver's.
FAULT = b"""
.version 7.0
.target sm_75
.address_size 64
.visible .entry fault(.param .u64 to)
{
    .reg .u64 %rd<3>;
    .reg .u32 %r<2>;
    ld.param.u64 %rd1, [to];
    cvta.to.global.u64 %rd2, %rd1;
    mov.u32 %r1, 1;
    st.global.u32 [%rd2], %r1;
    ret;
}
"""
IMAGE = Binding(shape=(1, 1, 8, 8), dtype=np.dtype(np.uint8))
SCORE = Binding(shape=(1, 1), dtype=np.dtype(np.float32))


class Faulty:
    """In place of a network: the kernel."""

    def __init__(self) -> None:
        self._module = driver_library().module_from_buffer(FAULT)
        self._kernel = self._module.get_function("fault")

    def enqueue(self, count: int, addresses: Mapping[str, int], stream: Any) -> None:
        self._kernel(np.uintp(NOWHERE), grid=(1, 1), block=(1, 1, 1), stream=stream)


def told(use: Callable[[], object]) -> list[str]:
    """Return what an error of the engine says; nothing if there is none."""
    try:
        use()
    except EngineError as error:
        return [type(error).__name__, str(error)]
    return []


def allocate() -> None:
    with driver_errors("preparing for masters"):
        driver_library().mem_alloc(4096)


def said_after_the_fault(device: Device) -> list[list[str]]:
    """Return what the uses of the GPU say, the first of which waits for the kernel."""
    pinned = Pinned(device)
    lane = Lane(Faulty(), pinned, image=IMAGE, features={}, outputs={"score": SCORE}, batch=1, warp=None)
    part = [Sample(np.zeros(IMAGE.shape, np.uint8))]
    lane.submit(part)
    uses = [lane.collect, lambda: lane.submit(part), allocate, lambda: pinned.empty((8,), np.uint8)]
    said = [told(use) for use in uses]
    pinned.release()
    return said


def main() -> None:
    with open_device() as device:
        said = said_after_the_fault(device)
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
