"""Runs the line's kernels on the host, as the compiler of the host makes them."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SOURCE = Path(__file__).parent / "driver" / "kernels_host.cpp"
_FLAGS = ("-std=c++17", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")


class HostKernels:
    """The kernels by name, launched with what pycuda takes: addresses and numpy's numbers."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("g++") is None:
            pytest.skip("the kernels need g++ to run on the host")
        subprocess.run(["g++", *_FLAGS, "-o", folder / "kernels.so", SOURCE], check=True)
        self._library = ctypes.CDLL(str(folder / "kernels.so"))

    def launch(self, name: str, *arguments: Any, grid: tuple[int, ...], block: tuple[int, ...]) -> None:
        """Run all threads of a kernel; `arguments` are ints for addresses and numbers of numpy."""
        held = [
            np.array([value], np.uintp) if isinstance(value, int) else np.array([value]) for value in arguments
        ]
        pointers = (ctypes.c_void_p * len(held))(*(value.ctypes.data for value in held))
        getattr(self._library, f"fake_{name}")(pointers, *map(ctypes.c_uint, (*grid, *block)))


def address(array: NDArray[Any] | None) -> int:
    """Where an array's elements begin; 0 for none."""
    return 0 if array is None else int(array.ctypes.data)
