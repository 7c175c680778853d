"""Engines that `trt-build build` made for this GPU: device and host-to-host time, floors, and overlap of lanes.

    python benchmarks/gpu.py BUNDLE... [--precision fp16 --precision int8] [--batch 1 --batch 16]

Host to host is from a picture in the ring's slot, pinned, to outputs in host memory; device time is what the
network takes of that by the GPU's own events. The copy floor is what the bytes take at the bandwidth that one
large copy reaches here; the compute floor is the multiplications at the tensor cores' peak by NVIDIA's papers.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from edge.bundle import Model, read_model
from edge.engines.base import Image, Sample
from edge.engines.cuda import Pinned, driver_library, open_device
from edge.engines.lanes import Lane
from edge.engines.trt import TensorRT, TensorRTRTX
from edge.errors import EngineError
from edge.manifest import Precision
from edge.monitoring.gpu import find_gpu

RUNTIMES = {"tensorrt": TensorRT, "tensorrt_rtx": TensorRTRTX}
COPIED = 64 << 20  # bytes that tell the bandwidth

#: Dense FP16 operations of one multiprocessor a clock, by compute capability; INT8 and FP8 do twice as many.
#: From NVIDIA's papers on T4, A100, GA102, Orin, AD102, H100, B200 and GB202.
TENSOR_OPS = {75: 1024, 80: 2048, 86: 1024, 87: 2048, 89: 1024, 90: 4096, 100: 8192, 120: 1024}
CUDA_CORES = {75: 64, 80: 64, 86: 128, 87: 128, 89: 128, 90: 128, 100: 128, 120: 128}  # FP32: 2 operations each


class Timed:
    """An execution between two events of the GPU."""

    def __init__(self, execution: Any) -> None:
        cuda = driver_library()
        self._execution, self.start, self.end = execution, cuda.Event(), cuda.Event()

    def enqueue(self, count: int, addresses: Mapping[str, int], stream: Any) -> None:
        self.start.record(stream)
        self._execution.enqueue(count, addresses, stream)
        self.end.record(stream)

    @property
    def ms(self) -> float:
        return float(self.start.time_till(self.end))


def quantiles(taken_ms: Sequence[float]) -> dict[str, float]:
    cut = statistics.quantiles(taken_ms, n=100)
    return {"p50_ms": round(cut[49], 4), "p99_ms": round(cut[98], 4)}


@contextmanager
def slots(engine: TensorRT, count: int, shape: tuple[int, ...]) -> Iterator[list[Image]]:
    """Return pictures as they lie in the slots of a ring, page-aligned and pinned."""
    room = -(-prod(shape) // 4096) * 4096
    memory = np.zeros(count * room + 4096, np.uint8)
    start = -memory.ctypes.data % 4096
    pages = memory[start : start + count * room].reshape(count, room)
    pages[:] = np.random.default_rng(0).integers(0, 256, pages.shape, np.uint8)
    engine.pin(pages)
    yield [page[: prod(shape)].reshape(shape) for page in pages]


def measure(bundle: Model, runtime: str, precision: Precision, batch: int, rounds: int) -> dict[str, Any]:
    """Measure one engine at one batch size; both times are of the same requests."""
    spec = bundle.manifest.input
    with (
        RUNTIMES[runtime](bundle, precision, 2, 0) as engine,
        slots(engine, 2 * batch, spec.shape) as pictures,
    ):
        if batch > engine.batch:
            return {"skipped": f"its profile ends at a batch of {engine.batch}"}
        reference = engine.reference(pictures[0].copy()) if bundle.manifest.features else None
        batches = [
            [Sample(picture, reference) for picture in pictures[i * batch : (i + 1) * batch]] for i in (0, 1)
        ]
        lane: Lane = engine._lanes[0]
        lane._execution = timed = Timed(lane._execution)
        device, host = [], []
        for number in range(2 * rounds):
            started = time.perf_counter()
            engine.submit(0, batches[number % 2])
            engine.collect(0)
            if number >= rounds:
                host.append((time.perf_counter() - started) * 1e3)
                device.append(timed.ms)
        lane._execution = timed._execution
        one, two = (lanes_ms(engine, batches, lanes, rounds) for lanes in (1, 2))
        overhead = [whole - part for whole, part in zip(host, device, strict=True)]
        return {
            "device": quantiles(device),
            "host_to_host": quantiles(host),
            "host_minus_device": quantiles(overhead),
            "two_lanes_against_one": round(one / two, 3),
        }


def lanes_ms(engine: TensorRT, batches: list[list[Sample]], lanes: int, rounds: int) -> float:
    """Return milliseconds a batch with this many lanes in use."""
    started = time.perf_counter()
    for number in range(rounds + lanes):
        lane = number % lanes
        if number >= lanes:
            engine.collect(lane)
        if number < rounds:
            engine.submit(lane, batches[lane])
    return (time.perf_counter() - started) * 1e3 / rounds


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


def operations(graph: Path) -> int:
    """Return the operations of a graph's convolutions and products for one picture; a multiply-add is two."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(graph))
    known = [*model.graph.value_info, *model.graph.output, *model.graph.input]
    shapes = {put.name: [d.dim_value or 1 for d in put.type.tensor_type.shape.dim] for put in known}
    shapes |= {weights.name: list(weights.dims) for weights in model.graph.initializer}
    for node in model.graph.node:  # rounded weights are as large as the weights
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast") and node.input[0] in shapes:
            shapes.setdefault(node.output[0], shapes[node.input[0]])
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            on = node.output[0] if node.op_type == "Conv" else node.input[0]
            total += 2 * prod(shapes[on][1:]) * prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            total += 2 * prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return total


def floors(bundle: Model, precision: Precision, batch: int, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the least time in ms for the copies and the operations of a batch; None where it is unknown."""
    manifest = bundle.manifest
    bytes_in, bytes_out = prod(manifest.input.shape), 4 * sum(prod(s) for s in manifest.outputs.values())
    copied = batch * (bytes_in / machine["bandwidth"]["in"] + bytes_out / machine["bandwidth"]["out"])
    sm, operation_count = machine["compute_capability"], batch * operations(bundle.artifact("judge", precision))
    if precision == "fp32":
        a_clock = 2 * CUDA_CORES.get(sm, 0)
    else:
        a_clock = TENSOR_OPS.get(sm, 0) * (1 if precision == "fp16" else 2)
    peak = a_clock * machine["multiprocessors"] * (machine["clock_max_hz"] or 0) / 1e3  # a millisecond
    return {
        "gop": round(operation_count / 1e9, 3),
        "copy_floor_ms": round(copied, 4),
        "compute_floor_ms": round(operation_count / peak, 4) if peak else None,
    }


def described() -> dict[str, Any]:
    """Return the GPU and its state when it is measured."""
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


def main(
    bundles: Annotated[
        list[Path], typer.Argument(help="Folders of bundles whose engines are built for this GPU.")
    ],
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Precision to measure; may be given several times. Left out, all that are built."),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(help="Parts in one request; may be given several times. Left out, 1 and 16."),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=100, help="Requests that are timed, after as many to warm up.")
    ] = 1000,
) -> None:
    """Print one line of JSON with the GPU and, for each engine and batch size, its times."""
    machine = described()
    rows, left_out = [], {}
    for folder in bundles:
        bundle = read_model(folder)
        for runtime in RUNTIMES:
            for kind in bundle.manifest.precisions():
                if precision and kind not in precision:
                    continue
                for count in batch or (1, 16):
                    row = {
                        "bundle": bundle.manifest.name,
                        "runtime": runtime,
                        "precision": kind,
                        "batch": count,
                    }
                    try:
                        found = measure(bundle, runtime, kind, count, rounds)
                    except EngineError as error:
                        left_out[f"{bundle.manifest.name} {runtime} {kind}"] = str(error)
                        break
                    rows.append(row | found | floors(bundle, kind, count, machine))
    print(json.dumps({"machine": machine, "engines": rows, "not_run": left_out}))


if __name__ == "__main__":
    typer.run(main)
