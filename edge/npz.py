"""Reads the arrays of an .npz file that may come from anybody: nothing is unpickled, and memory is bounded."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError

#: Bytes of a number at most, and of what describes the arrays.
NUMBER_BYTES, HEADER_BYTES = 8, 65_536


def read_arrays(path: Path, most: int) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of the file as float32, by name.

    Raise BundleError if the file is none of arrays of numbers, or if it unpacks to more than `most` numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > NUMBER_BYTES * most + HEADER_BYTES:
            raise ValueError(f"it unpacks to {unpacked} bytes, and {most} numbers are expected")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name].astype(np.float32) for name in arrays.files}
    except Exception as error:
        # Any kind: numpy evaluates a header as Python, and says so if that fails.
        raise BundleError(f"{path}: not a file of arrays of numbers: {error}: pack the bundle anew") from error
