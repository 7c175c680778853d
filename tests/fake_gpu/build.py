"""Builds real pycuda, the fake driver and its kernels once, and keeps them in the user's cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

PYCUDA = "2026.1"
HERE = Path(__file__).parent
SOURCES = HERE / "driver"
DRIVER = tuple(SOURCES / f"fake_{name}.cpp" for name in ("driver", "devices", "copies", "queues", "graphs"))
SHIPPED = HERE.parents[1] / "edge" / "image"  # kernels_host.cpp takes them in
KERNELS = tuple(SOURCES / name for name in ("network_host.cpp", "kernels_host.cpp"))
TOUCHED = SOURCES / "touched.cpp"

FLAGS = ("-shared", "-fPIC", "-O1")
SITECONF = """
CUDA_ROOT, CUDA_INC_DIR, CUDADRV_LIB_DIR = {root!r}, [{headers!r}], [{stub!r}]
CUDA_ENABLE_CURAND = False
CXXFLAGS = ["-O0", "-g0", "-w"]  # built sooner
"""


class Missing(Exception):
    """Something is missing to build the fake GPU; the text is the reason of a skipped test."""


def libraries() -> Path:
    """Return the folder with the fake `libcuda.so.1` and `libkernels.so`; building them takes 5 s."""
    headers = _headers()
    sources = [*DRIVER, *KERNELS, TOUCHED, *sorted(SOURCES.glob("*.h")), *sorted(SHIPPED.glob("*.cu"))]
    key = _digest(*(path.read_bytes() for path in sources), (headers / "cuda.h").read_bytes(), *FLAGS)
    return _kept(f"driver-{key}", lambda folder: _compile(folder, headers))


def pycuda() -> Path:
    """Return the folder that holds pycuda; building it takes a minute or two."""
    headers = _headers()
    python = str(sysconfig.get_config_var("SOABI"))
    key = _digest((headers / "cuda.h").read_bytes(), PYCUDA, SITECONF, python)
    return _kept(f"pycuda-{key}", lambda folder: _install(folder, headers))


def _compile(folder: Path, headers: Path) -> None:
    symbols, object_, driver = folder / "symbols.c", folder / "symbols.o", folder / "libcuda.so.1"
    symbols.write_text(_symbols(headers))
    compiler = ["g++", "-std=c++17", *FLAGS, f"-I{headers}", f"-I{SOURCES}"]
    _run("gcc", "-c", "-fPIC", symbols, "-o", object_)
    _run(*compiler, "-Wl,-soname,libcuda.so.1", *DRIVER, object_, "-o", driver, "-ldl")
    kernels = []
    for source in KERNELS:
        kernels.append(folder / f"{source.stem}.o")
        _run(*compiler, "-O2", "-fsanitize=thread", "-c", source, "-o", kernels[-1])
    _run(*compiler, *kernels, TOUCHED, driver, "-o", folder / "libkernels.so")


def _install(folder: Path, headers: Path) -> None:
    """Build pycuda from its source, against a libcuda whose functions do nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        source, stub = Path(scratch) / "source", Path(scratch) / "stub"
        stub.mkdir()
        (stub / "symbols.c").write_text(_symbols(headers))
        stubbed = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", stub / "symbols.c"]
        _run("gcc", *stubbed, "-o", stub / "libcuda.so")
        _pip("download", "--no-deps", "--no-binary", "pycuda", f"pycuda=={PYCUDA}", "-d", source)
        archive = next(source.glob("*.tar.gz"))
        _run("tar", "-xzf", archive, "-C", source)
        unpacked = next(path for path in source.iterdir() if path.is_dir())
        places = {"root": str(headers.parent), "headers": str(headers), "stub": str(stub)}
        (unpacked / "siteconf.py").write_text(SITECONF.format(**places))
        _pip("wheel", "--no-deps", unpacked, "-w", scratch)
        with zipfile.ZipFile(next(Path(scratch).glob("pycuda-*.whl"))) as wheel:
            wheel.extractall(folder)


def _symbols(headers: Path) -> str:
    """Return C code in which every function of cuda.h that is defined nowhere else returns 'not supported'."""
    text = (headers / "cuda.h").read_text() + (headers / "cudaProfiler.h").read_text()
    declared = set(re.findall(r"CUDAAPI\s+(cu[A-Z]\w*)\s*\(", text))
    renamed = set(re.findall(r"#\s*define\s+cu[A-Z]\w*\s+(?:__CUDA_API_\w+\()?(cu[A-Z]\w*)", text))
    body = "".join(
        f'__attribute__((weak)) int {name}(void) {{ return refused("{name}"); }}\n'
        for name in sorted(declared | renamed)
    )
    return (
        "#include <stdio.h>\n"
        "static int refused(const char *name) {\n"
        '  fprintf(stderr, "fake CUDA driver: %s is not supported\\n", name);\n'
        "  return 801;  // CUDA_ERROR_NOT_SUPPORTED\n"
        "}\n" + body
    )


def _headers() -> Path:
    """Return the folder of cuda.h; raise Missing if there is no header or no compiler."""
    for compiler in ("gcc", "g++"):
        if shutil.which(compiler) is None:
            raise Missing(f"the fake CUDA driver needs a compiler: {compiler} is not installed")
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [Path(root) / "include" for root in roots if root]
    nvidia = find_spec("nvidia")  # wheels lay CUDA's headers there, a folder a component or a version
    for place in nvidia.submodule_search_locations or () if nvidia else ():
        folders += sorted(Path(place).glob("*/include"))
    for folder in folders:
        if (folder / "cuda.h").exists() and (folder / "cudaProfiler.h").exists():
            return folder
    raise Missing("pycuda needs cuda.h and cudaProfiler.h: install a CUDA toolkit or set CUDA_HOME")


def _digest(*parts: bytes | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:16]


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of this name in the cache; the first process that asks makes it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linejudge-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    with _locked(cache / f"{name}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as unfinished:
                made = Path(unfinished) / name
                made.mkdir()
                make(made)
                made.rename(folder)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pip(*arguments: str | Path) -> None:
    try:
        _run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries=1", "--quiet", *arguments)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        if "No matching distribution" in reason or "No module named pip" in reason:
            raise Missing(
                f"pycuda {PYCUDA} is built from its source, which pip cannot get: {reason}"
            ) from error
        raise


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stdout + done.stderr)[-2000:]}")
