"""Compiles the line's CUDA kernels into one file for every kind of card, so that a line needs no compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from edge.errors import EngineError
from edge.image.kernel import SOURCE, fatbin_name

#: Compute capabilities from Turing on, 8.7 and 11.0 (before CUDA 13: 10.1) those of Jetsons; cards between them
#: run what is compiled for the one below, later cards what the driver makes of the newest one's PTX.
CAPABILITIES = (75, 80, 86, 87, 89, 90, 100, 101, 110, 120)
INSTALLED = Path("/usr/local/cuda")  # by NVIDIA's own packages


def compile_kernels(folder: Path) -> Path:
    """Write the compiled kernels into a folder under the name by which `edge.image.kernel.fatbin` finds them.

    Takes some ten seconds and no GPU. EngineError where there is no nvcc, or in its words where it fails.
    """
    compiler = nvcc()
    known = _said([compiler, "--list-gpu-arch"]).split()
    capabilities = [number for number in CAPABILITIES if f"compute_{number}" in known]
    if not capabilities:
        raise EngineError(
            f"{nvcc}: knows none of the compute capabilities {CAPABILITIES}: install CUDA 11 or later"
        )
    codes = [(number, f"sm_{number}") for number in capabilities]
    codes += [(capabilities[-1], f"compute_{capabilities[-1]}")]
    targets = [word for number, code in codes for word in ("-gencode", f"arch=compute_{number},code={code}")]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "kernels.fatbin"
        _said(
            [
                compiler,
                "-std=c++17",
                "--threads",
                "0",
                "-Werror",
                "all-warnings",
                *targets,
                "-fatbin",
                "-o",
                made,
                SOURCE,
            ]
        )
        return made.replace(folder / fatbin_name())


def _said(command: list[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EngineError(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def nvcc() -> Path:
    """Where the compiler is: $CUDA_HOME, the path, NVIDIA's Python packages, or where CUDA installs itself."""
    places = [Path(os.environ["CUDA_HOME"]) / "bin"] if os.environ.get("CUDA_HOME") else []
    places += [Path(folder) for folder in os.get_exec_path()]
    nvidia = find_spec("nvidia")
    for folder in nvidia.submodule_search_locations or () if nvidia else ():
        places += sorted(Path(folder).glob("*/bin"), reverse=True)
    places += [INSTALLED / "bin"]
    for place in places:
        if found := shutil.which("nvcc", path=place):
            return Path(found)
    raise EngineError(
        f"expected nvcc in $CUDA_HOME/bin, on the path, in the package nvidia-cuda-nvcc or in {INSTALLED}/bin, "
        "found none: install a CUDA toolkit (on a Jetson apt install cuda-nvcc-12-6, or as its CUDA is), or "
        "pip install 'nvidia-cuda-nvcc>=13'"
    )
