"""Loads the library TensorRT or TensorRT-RTX, and describes the target of engines for this machine."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from typing import Any

from ..errors import EngineError
from ..recipe import Runtime
from .compiled import Target
from .cuda import Device

_log = logging.getLogger(__name__)

#: Versions whose calls are used here: from the first one to before the second.
VERSIONS: dict[Runtime, tuple[tuple[int, int], tuple[int, int]]] = {
    "tensorrt": ((10, 3), (12, 0)),
    "tensorrt_rtx": ((1, 4), (2, 0)),
}
PACKAGES: dict[Runtime, str] = {
    "tensorrt": "pip install 'linejudge[gpu]' (on a Jetson apt install python3-libnvinfer, and let the virtual "
    "environment see the system's packages)",
    "tensorrt_rtx": "pip install 'linejudge[gpu,rtx]'",
}


def load_runtime(runtime: Runtime) -> Any:
    """Return the runtime's Python module. Raise EngineError if it is missing or of an unsupported version."""
    check_installed(runtime)
    try:
        trt = import_module(runtime)
    except (ImportError, OSError) as error:
        raise EngineError(
            f"{runtime} cannot be loaded ({error}): install it again: {PACKAGES[runtime]}"
        ) from error
    first, end = VERSIONS[runtime]
    version = tuple(int(n) for n in trt.__version__.split(".")[:2])
    if not first <= version < end:
        raise EngineError(
            f"{runtime}: expected a version from {first[0]}.{first[1]} to before {end[0]}.{end[1]}, found "
            f"{trt.__version__}: install one of these versions"
        )
    return trt


def check_installed(runtime: Runtime) -> None:
    """Raise EngineError if the runtime is not installed."""
    if find_spec(runtime) is None:
        raise EngineError(f"{runtime} is not installed: {PACKAGES[runtime]}")


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Switch Python's garbage collector off while `with` is active.

    TensorRT calls Python's log while it holds a lock. If the garbage collector ran during that call, it could
    destroy another object of TensorRT, which waits for the same lock forever.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def target(runtime: Runtime, trt: Any, device: Device) -> Target:
    """Return the runtime and the GPU for which an engine must be compiled to run on this machine.

    Raise EngineError if the driver is too old for the runtime. A driver runs programs of all minor versions of
    its CUDA version's major, and of earlier majors (NVIDIA, CUDA Compatibility).
    """
    needed = _cuda_major(runtime)
    if needed is not None and device.driver // 1000 < needed:
        raise EngineError(
            f"{runtime} {trt.__version__} is for CUDA {needed}, and the driver supports CUDA up to "
            f"{device.driver // 1000}.{device.driver % 1000 // 10}: install a newer driver, or the {runtime} "
            f"for CUDA {device.driver // 1000}: pip install {runtime}-cu{device.driver // 1000}"
        )
    return Target(
        runtime=runtime,
        version=trt.__version__,
        compute_capability=device.compute_capability,
        gpu=device.name,
        multiprocessors=device.multiprocessors,
        memory_gib=round(device.memory_bytes / 2**30),
        integrated=device.integrated,
        driver=device.driver,
    )


def _cuda_major(runtime: Runtime) -> int | None:
    """Return the major version of CUDA that the installed runtime is for. JetPack's does not say it: None."""
    found = []
    for major in range(11, 20):
        with suppress(PackageNotFoundError):
            distribution(f"{runtime}_cu{major}")
            found.append(major)
    return found[0] if len(found) == 1 else None


def logger(trt: Any) -> Any:
    """Return a logger for TensorRT that writes to Python's log.

    The logger's `last_error` is the text of the last error, since TensorRT's failed calls just return None.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]  # the library has no types
        last_error = ""

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.last_error = text
            level = logging.WARNING if severity == trt.ILogger.Severity.WARNING else logging.DEBUG
            _log.log(logging.ERROR if self.last_error == text else level, "%s", text)

    return Logger()
