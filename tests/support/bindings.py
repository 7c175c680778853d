"""TensorRT's Python bindings of several versions, without TensorRT: real wheels on empty libraries."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

#: Version -> the package on PyPI that has its bindings, and in which version of the package.
VERSIONS = {
    "10.3.0": ("tensorrt_cu12_bindings", "10.3.0"),
    "10.16.1": ("tensorrt_cu13_bindings", "10.16.1.11"),
    "11.4.0": ("tensorrt_cu13_bindings", "11.4.0.106"),
}
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
_ASK = """
import importlib, json, sys

def lacks(chain):
    value = library
    for name in chain:
        if not hasattr(value, name):
            return True
        value = getattr(value, name)
    return False

library = importlib.import_module(sys.argv[1])
chains = json.load(sys.stdin)
print(json.dumps([chain for chain in chains if lacks(chain)]))
"""


class Missing(Exception):
    """What cannot be had here, in words for a skipped test."""


def missing_names(version: str, chains: Sequence[Sequence[str]]) -> list[str]:
    """Those of the names, each as its steps from the library on, that the bindings of a version lack."""
    folder = _bindings(version)
    found = {"PYTHONPATH": str(folder), "LD_LIBRARY_PATH": str(folder)}
    return _lacking("tensorrt_bindings", chains, found)


def missing_in_rtx(chains: Sequence[Sequence[str]]) -> list[str]:
    """Likewise of the TensorRT-RTX that is installed."""
    return _lacking("tensorrt_rtx", chains, {})


def _lacking(library: str, chains: Sequence[Sequence[str]], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK, library],
        input=json.dumps([list(chain) for chain in chains]),
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{library} cannot be loaded: {done.stderr[-2000:]}")
    return [".".join(chain) for chain in json.loads(done.stdout)]


def _bindings(version: str) -> Path:
    """The folder with a version's bindings and the libraries they are linked with, in the user's cache."""
    if shutil.which("gcc") is None:
        raise Missing("TensorRT's bindings need libraries to be linked with, and gcc is not installed")
    package, number = VERSIONS[version]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linejudge-tests"
    folder = cache / f"{package}-{number}-{sys.implementation.cache_tag}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        made = Path(scratch) / "bindings"
        with zipfile.ZipFile(_download(package, number, Path(scratch))) as wheel:
            wheel.extractall(made)
        (made / "nothing.c").write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _SYMBOLS))
        for library in _LIBRARIES:
            name = f"lib{library}.so.{version.partition('.')[0]}"
            command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "nothing.c", "-o", name]
            subprocess.run(command, cwd=made, check=True)
        try:
            made.rename(folder)
        except OSError:  # another process was first
            if not folder.exists():
                raise
    return folder


def _download(package: str, number: str, folder: Path) -> Path:
    """The wheel for this Python."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--only-binary=:all:", f"{package}=={number}", "-d", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Missing(
            f"pip cannot get {package} {number} for {sys.implementation.cache_tag}: {done.stderr[-300:]}"
        )
    return next(folder.glob("*.whl"))
