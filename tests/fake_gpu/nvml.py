"""The fake NVML as a library on disk, and what its GPU answers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "driver" / "fake_nvml.c"
COMPILER = shutil.which("cc") or shutil.which("gcc")

# An RTX-like card at work: what each name means is in the source.
BUSY = {
    "memory_total": 8 << 30,
    "memory_used": 3 << 30,
    "utilization": 62,
    "temperature": 71,
    "clock": 1530,
    "clock_max": 2100,
    "reasons": 0,
    "persistence": 1,
}


class FakeNvml:
    """A folder with the built library; `environment` makes a process load it."""

    def __init__(self, folder: Path) -> None:
        if not COMPILER:
            pytest.skip("no C compiler to build the fake NVML: apt-get install gcc")
        self._answers = folder / "answers"
        library = folder / "libnvidia-ml.so.1"
        subprocess.run([COMPILER, "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        self.environment = {"LD_LIBRARY_PATH": str(folder), "FAKE_NVML": str(self._answers)}
        self.tell()

    def tell(self, **changed: int | None) -> None:
        """Answer as a busy GPU does but for what is changed; None is not supported."""
        told = {name: value for name, value in (BUSY | changed).items() if value is not None}
        new = self._answers.with_suffix(".new")
        new.write_text("".join(f"{name}={value}\n" for name, value in told.items()))
        new.replace(self._answers)
