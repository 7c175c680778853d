"""The CUDA kernels of the line: their source, and where `trt-build` has put what it compiled of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .placement import Laying as Laying

SOURCE = Path(__file__).parent / "warp.cu"


def fatbin_name() -> str:
    """The name of what is compiled of this very source, so that no other is ever loaded."""
    return f"kernels-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.fatbin"


def fatbin(folder: Path) -> Path | None:
    """The compiled kernels in a folder; None where there are none, or only those of another source."""
    path = folder / fatbin_name()
    return path if path.is_file() else None
