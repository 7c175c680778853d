"""Describes the GPU for benchmarks/gpu.py: its bandwidth, and the least times that copies and products take."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from edge.bundle import Model
from edge.engines.cuda import Pinned, driver_library, open_device
from edge.manifest import Precision
from edge.monitoring.gpu import find_gpu
from trt_build.graphs.multiply_adds import multiply_adds

COPIED = 64 << 20  # bytes that tell the bandwidth

#: Dense FP16 operations of one multiprocessor a clock, by compute capability; INT8 and FP8 do twice as many.
#: From NVIDIA's papers on T4, A100, GA102, Orin, AD102, H100, B200 and GB202.
TENSOR_OPS = {75: 1024, 80: 2048, 86: 1024, 87: 2048, 89: 1024, 90: 4096, 100: 8192, 120: 1024}
CUDA_CORES = {75: 64, 80: 64, 86: 128, 87: 128, 89: 128, 90: 128, 100: 128, 120: 128}  # FP32: 2 operations each


def described() -> dict[str, Any]:
    """Return the GPU and its state when it is idle."""
    cuda = driver_library()
    with open_device() as device:
        attribute = cuda.Context.get_device().get_attribute
        sms = attribute(cuda.device_attribute.MULTIPROCESSOR_COUNT)
    gpu = find_gpu()
    state = gpu.read() if gpu else None
    return {
        "gpu": device.name,
        "compute_capability": 10 * device.compute_capability[0] + device.compute_capability[1],
        "cuda_driver": device.driver,
        "multiprocessors": sms,
        "clock_hz": state.clock_hz if state else None,
        "clock_max_hz": state.clock_max_hz if state else None,
        "bandwidth": bandwidths(),
    }


def bandwidths() -> dict[str, float]:
    """Return the bytes a millisecond of one large copy from and to pinned memory."""
    cuda = driver_library()
    with open_device() as device:
        memory, start, end = cuda.mem_alloc(COPIED), cuda.Event(), cuda.Event()
        host, _ = Pinned(device).empty((COPIED,), np.uint8)
        found = {}
        for name, copy in (("in", cuda.memcpy_htod_async), ("out", cuda.memcpy_dtoh_async)):
            for _ in range(3):
                start.record()
                copy(*((memory, host) if name == "in" else (host, memory)))
                end.record()
                end.synchronize()
            found[name] = COPIED / start.time_till(end)
        memory.free()
        del host, start, end
        return found


def floors(bundle: Model, precision: Precision, batch: int, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the least time in ms for the copies and the operations of a batch; None where it is unknown."""
    manifest = bundle.manifest
    bytes_in, bytes_out = prod(manifest.input.shape), 4 * sum(prod(s) for s in manifest.outputs.values())
    copied = batch * (bytes_in / machine["bandwidth"]["in"] + bytes_out / machine["bandwidth"]["out"])
    operations = {name: 2 * n for name, n in multiply_adds(bundle.artifact("judge", precision)).items()}
    sm, clock = machine["compute_capability"], machine["multiprocessors"] * (machine["clock_max_hz"] or 0)
    tensor = TENSOR_OPS.get(sm, 0)
    a_clock = {"FP32": 2 * CUDA_CORES.get(sm, 0), "FP16": tensor, "INT8": 2 * tensor, "FP8": 2 * tensor}
    computed = None
    if tensor and clock:
        computed = sum(1e3 * n / (a_clock[name] * clock) for name, n in operations.items())
    return {
        "gop": round(batch * sum(operations.values()) / 1e9, 3),
        "copy_floor_ms": round(copied, 4),
        "compute_floor_ms": None if computed is None else round(batch * computed, 4),
    }
