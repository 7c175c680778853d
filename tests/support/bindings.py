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
from typing import Literal

from signatures import Use

#: Version -> the package on PyPI that has its bindings, and in which version of the package.
VERSIONS = {
    "10.3.0": ("tensorrt_cu12_bindings", "10.3.0"),
    "10.16.1": ("tensorrt_cu13_bindings", "10.16.1.11"),
    "11.4.0": ("tensorrt_cu13_bindings", "11.4.0.106"),
}
OLDEST_RTX = ("tensorrt_rtx_cu13_bindings", "1.4.0.76")
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_RTX_LIBRARIES = ("tensorrt_rtx", "tensorrt_onnxparser_rtx")
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
_ASK = Path(__file__).with_name("signatures.py")
FAKES = Path(__file__).parents[1] / "fake_gpu"


class Missing(Exception):
    """What cannot be had here, in words for a skipped test."""


def unfit(version: str, uses: Sequence[Use]) -> list[str]:
    """Return which of the uses do not fit the bindings of a version: missing names, and calls not taken."""
    folder = _bindings(*VERSIONS[version])
    found = {"PYTHONPATH": str(folder), "LD_LIBRARY_PATH": str(folder)}
    return _unfit("tensorrt_bindings", uses, found)


def unfit_for_rtx(uses: Sequence[Use]) -> list[str]:
    """Do the same for the TensorRT-RTX that is installed."""
    return _unfit("tensorrt_rtx", uses, {})


def unfit_for_oldest_rtx(uses: Sequence[Use]) -> list[str]:
    """Do the same for the oldest version of TensorRT-RTX that the code takes."""
    folder = _bindings(*OLDEST_RTX)
    found = {"PYTHONPATH": str(folder), "LD_LIBRARY_PATH": str(folder)}
    return _unfit("tensorrt_rtx_bindings", uses, found)


def unfit_for_fake(library: Literal["tensorrt", "tensorrt_rtx"], uses: Sequence[Use]) -> list[str]:
    """Do the same for the fake that the tests run on."""
    return _unfit(library, uses, {"PYTHONPATH": str(FAKES)})


def _unfit(library: str, uses: Sequence[Use], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", _ASK, library],
        input=json.dumps(list(uses)),
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{library} cannot be loaded: {done.stderr[-2000:]}")
    said: list[str] = json.loads(done.stdout)
    return said


def _bindings(package: str, number: str) -> Path:
    """The folder with a package's bindings and the libraries they are linked with, in the user's cache."""
    if shutil.which("gcc") is None:
        raise Missing("TensorRT's bindings need libraries to be linked with, and gcc is not installed")
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
        for library in _RTX_LIBRARIES if "rtx" in package else _LIBRARIES:
            name = f"lib{library}.so.{number.partition('.')[0]}"
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
