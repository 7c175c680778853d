"""Finds out which of several GPUs CUDA uses here, so that the metrics show that one.

CUDA lists the fastest GPU first, and CUDA_VISIBLE_DEVICES chooses others by number or UUID. NVML knows nothing
of this and lists GPUs by their PCI address. So CUDA is asked for the PCI address of its first GPU, which is the
one that engines run on. A process of its own asks: the supervisor must neither hold a GPU nor end with it.
"""

from __future__ import annotations

import ctypes
import logging
import subprocess
import sys

_log = logging.getLogger(__name__)

#: Wait no longer for CUDA, in case the driver hangs.
PATIENCE_S = 30.0


def chosen_address() -> str | None:
    """Return the PCI address of CUDA's first GPU, as in `0000:65:00.0`. If there is none, log why: None."""
    command = [sys.executable, "-c", f"from {__name__} import main; main()"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        _log.warning("CUDA does not say within %.0f s which GPU it uses", PATIENCE_S)
        return None
    if done.returncode:
        _log.info("CUDA does not say which GPU it uses: %s", done.stderr.strip() or f"status {done.returncode}")
        return None
    return done.stdout.strip()


def main() -> None:
    """Print the PCI address of CUDA's first GPU. End with a text and status 1 if there is none."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        sys.exit(str(error))
    device, address = ctypes.c_int(), ctypes.create_string_buffer(32)
    for name, arguments in (
        ("cuInit", (ctypes.c_uint(0),)),
        ("cuDeviceGet", (ctypes.byref(device), ctypes.c_int(0))),
        ("cuDeviceGetPCIBusId", (address, ctypes.c_int(len(address)), device)),
    ):
        if status := getattr(cuda, name)(*arguments):
            sys.exit(f"{name}: CUDA error {status}")
    print(address.value.decode())
