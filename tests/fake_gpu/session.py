"""The primary context for a script on the fake GPU, and the memory that such scripts use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pycuda.driver as cuda
from numpy.typing import NDArray


@contextmanager
def gpu() -> Iterator[None]:
    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.push()
    try:
        yield
    finally:
        context.detach()


def pinned(*values: int) -> NDArray[np.int32]:
    array: NDArray[np.int32] = cuda.pagelocked_empty(len(values), np.int32)
    array[:] = values
    return array


def on_device(*values: int) -> Any:
    return cuda.to_device(np.array(values, np.int32))
