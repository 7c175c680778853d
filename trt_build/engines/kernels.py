"""Compiles the line's CUDA kernel into one file for all kinds of GPU, so that a line needs no compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from edge.errors import EngineError
from edge.image.kernel import SOURCE, fatbin_name

#: Compute capabilities from Turing on; 8.7 and 11.0 (10.1 before CUDA 13) are those of Jetsons. A GPU between
#: two of them runs the code of the lower one; for a later GPU the driver compiles the PTX of the newest.
CAPABILITIES = (75, 80, 86, 87, 89, 90, 100, 101, 110, 120)
#: Where NVIDIA's own packages install CUDA.
INSTALLED = Path("/usr/local/cuda")


def compile_kernels(folder: Path) -> Path:
    """Compile the CUDA kernel into a file in `folder`, and return the path of this file.

    The function `edge.image.kernel.fatbin` finds the file there. Compiling takes about ten seconds and needs no
    GPU. Raise EngineError if the compiler nvcc is missing or fails.
    """
    compiler = nvcc()
    known = _output_of([compiler, "--list-gpu-arch"]).split()
    capabilities = [number for number in CAPABILITIES if f"compute_{number}" in known]
    if not capabilities:
        raise EngineError(
            f"{compiler}: expected support for one of the compute capabilities {CAPABILITIES}, found none: "
            "install CUDA 11 or later"
        )
    codes = [(number, f"sm_{number}") for number in capabilities]
    codes += [(capabilities[-1], f"compute_{capabilities[-1]}")]
    targets = [word for number, code in codes for word in ("-gencode", f"arch=compute_{number},code={code}")]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "kernels.fatbin"
        options: list[str | Path] = ["-std=c++17", "--threads", "0", *targets, "-fatbin", "-o", made]
        _output_of([compiler, *options, SOURCE])
        return made.replace(folder / fatbin_name())


def _output_of(command: list[str | Path]) -> str:
    """Run a command and return what it prints. If the command fails, raise EngineError with its error text."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EngineError(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def nvcc() -> Path:
    """Return the path of the CUDA compiler nvcc. Raise EngineError if nvcc is not found.

    It is searched for in $CUDA_HOME, in $PATH, in NVIDIA's Python packages and in INSTALLED.
    """
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
