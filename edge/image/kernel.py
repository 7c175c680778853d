"""The CUDA kernel that warps frames: its source, and where `trt-build` puts the compiled file."""

from __future__ import annotations

import hashlib
from pathlib import Path

SOURCE = Path(__file__).parent / "warp.cu"


def fatbin_name() -> str:
    """Return the name of the compiled file. It holds the source's hash, so that no other kernel is loaded."""
    return f"kernels-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.fatbin"


def fatbin(folder: Path) -> Path | None:
    """Return the compiled kernel in a folder; None where there is none, or only one of another source."""
    path = folder / fatbin_name()
    return path if path.is_file() else None
