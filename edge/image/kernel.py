"""Finds the function (CUDA kernel) that warps frames on a GPU: its source, and the file that was compiled."""

from __future__ import annotations

import hashlib
from pathlib import Path

SOURCE = Path(__file__).parent / "warp.cu"


def fatbin_name() -> str:
    """Return the name of the compiled file. It contains the source's hash, so that no other one is loaded."""
    return f"kernels-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.fatbin"


def fatbin(folder: Path) -> Path | None:
    """Return the path of the compiled kernel in a folder. Return None if none was compiled from this source."""
    path = folder / fatbin_name()
    return path if path.is_file() else None
