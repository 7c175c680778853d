"""Finds the CUDA kernel that warps frames on a GPU: its source file and its compiled file."""

from __future__ import annotations

import hashlib
from pathlib import Path

SOURCE = Path(__file__).parent / "warp.cu"


def fatbin_name() -> str:
    """Return the compiled file's name. It has the source's hash, so a file of another source is not loaded."""
    return f"kernels-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.fatbin"


def fatbin(folder: Path) -> Path | None:
    """Return the path of the compiled kernel in a folder. Return None if none was compiled from this source."""
    path = folder / fatbin_name()
    return path if path.is_file() else None
