"""Times an engine on a GPU for benchmarks/gpu.py: back to back, at the pace of a line, and on two lanes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from edge.bundle import Model
from edge.engines.base import Image, Sample
from edge.engines.cuda import driver_library
from edge.engines.lanes import Lane
from edge.engines.trt import TensorRT
from edge.errors import EngineError
from edge.monitoring.gpu import find_gpu

#: Seconds after which a series of requests ends, even if not all are done.
MOST_S = 10.0
PACED = 200  # requests of a paced series
READINGS = 5  # of clock and throttling under load, a tenth of a second apart


class Timed:
    """Times the network of a lane: on the GPU by two of its events, and on the CPU what queueing it takes."""

    def __init__(self, lane: Lane) -> None:
        cuda = driver_library()
        self._stream, self._run = lane._stream, lane._run
        self._start, self._end = cuda.Event(), cuda.Event()
        self.queueing_ms = 0.0
        lane._run = self

    def __call__(self, *given: Any) -> None:
        self._start.record(self._stream)
        started = time.perf_counter()
        self._run(*given)
        self.queueing_ms = (time.perf_counter() - started) * 1e3
        self._end.record(self._stream)

    @property
    def device_ms(self) -> float:
        return float(self._start.time_till(self._end))


def measured(engine: TensorRT, bundle: Model, batch: int, rounds: int, every_ms: float) -> dict[str, Any]:
    """Return the times of requests of `batch` samples in ms, and the GPU's clock while it is busy."""
    with two_batches(engine, bundle, batch) as batches:
        return {
            **alone(engine, batches, rounds),
            "paced": paced(engine, batches, every_ms),
            "two_lanes_against_one": two_against_one(engine, batches, rounds),
            "under_load": under_load(engine, batches),
        }


def measured_alone(engine: TensorRT, bundle: Model, rounds: int) -> dict[str, Any]:
    """Return the times of requests of one sample."""
    with two_batches(engine, bundle, 1) as batches:
        return alone(engine, batches, rounds)


@contextmanager
def two_batches(engine: TensorRT, bundle: Model, batch: int) -> Iterator[list[list[Sample]]]:
    """Yield two requests of `batch` samples. Raise EngineError if the engine does not take so many."""
    if batch > engine.most_samples:
        raise EngineError(f"its profile ends at a batch of {engine.most_samples}")
    with slots(engine, 2 * batch, bundle.manifest.input.shape) as pictures:
        reference = engine.reference(pictures[0].copy()) if bundle.manifest.features else None
        samples = [Sample(picture, reference) for picture in pictures]
        yield [samples[:batch], samples[batch:]]


def alone(engine: TensorRT, batches: list[list[Sample]], rounds: int) -> dict[str, Any]:
    """Return the times of requests one after another on one lane, all of the same requests."""
    lane: Lane = engine._lanes[0]
    timed = Timed(lane)
    rows: list[tuple[float, float, float]] = []
    for _ in series(rounds):  # warms up
        request(engine, batches[0])
    for number in series(rounds):
        host = request(engine, batches[number % 2])
        rows.append((host, timed.device_ms, timed.queueing_ms))
    del lane._run
    host_ms, device_ms, queueing_ms = zip(*rows, strict=True)
    rest = [host - device for host, device, _ in rows]
    return {
        "requests": len(rows),
        "device": quantiles(device_ms),
        "queueing": quantiles(queueing_ms),
        "host_to_host": quantiles(host_ms),
        "host_minus_device": quantiles(rest),
    }


def paced(engine: TensorRT, batches: list[list[Sample]], every_ms: float) -> dict[str, Any]:
    """Return the times of requests that come as from a camera. Between them a GPU may lower its clock."""
    taken, start = [], time.perf_counter()
    for number in series(PACED):
        time.sleep(max(0.0, start + number * every_ms / 1e3 - time.perf_counter()))
        taken.append(request(engine, batches[number % 2]))
    return {"every_ms": every_ms, "requests": len(taken), "host_to_host": quantiles(taken)}


def two_against_one(engine: TensorRT, batches: list[list[Sample]], rounds: int) -> float:
    """Return how many times as many requests two lanes do as one, always with a request on every lane."""

    def ms(lanes: int) -> float:
        started, done = time.perf_counter(), 0
        for number in series(rounds):
            if number >= lanes:
                engine.collect(number % lanes)
            engine.submit(number % lanes, batches[number % lanes])
            done = number + 1
        for number in range(done, done + min(lanes, done)):
            engine.collect(number % lanes)
        return (time.perf_counter() - started) * 1e3 / done

    one, two = ms(1), ms(2)
    return round(one / two, 3)


def under_load(engine: TensorRT, batches: list[list[Sample]]) -> dict[str, Any]:
    """Return the GPU's clock, temperature and what limits the clock, read while requests are in work."""
    gpu = find_gpu()
    if gpu is None:
        return {}
    states = []
    for _ in range(READINGS):
        until = time.perf_counter() + 0.1
        while time.perf_counter() < until:
            request(engine, batches[0])
        engine.submit(0, batches[0])
        states.append(gpu.read())
        engine.collect(0)
    clocks = [state.clock_hz for state in states if state.clock_hz is not None]
    return {
        "clock_hz": statistics.median(clocks) if clocks else None,
        "temperature_c": states[-1].temperature_c,
        "throttled": sorted(set().union(*(state.throttled or () for state in states))),
    }


def request(engine: TensorRT, batch: list[Sample]) -> float:
    """Return the milliseconds from a request's submission to its outputs in the CPU's memory."""
    started = time.perf_counter()
    engine.submit(0, batch)
    engine.collect(0)
    return (time.perf_counter() - started) * 1e3


def series(count: int) -> Iterator[int]:
    """Yield 0 to `count` - 1, but stop early after MOST_S; at least ten in any case."""
    end = time.perf_counter() + MOST_S
    for number in range(count):
        if number >= 10 and time.perf_counter() > end:
            return
        yield number


def quantiles(taken_ms: Sequence[float]) -> dict[str, float]:
    cut = statistics.quantiles(taken_ms, n=100)
    return {"p50_ms": round(cut[49], 4), "p99_ms": round(cut[98], 4)}


@contextmanager
def slots(engine: TensorRT, count: int, shape: tuple[int, ...]) -> Iterator[list[Image]]:
    """Yield pictures as they lie in the slots of a ring, page-aligned and pinned."""
    room = -(-prod(shape) // 4096) * 4096
    memory = np.zeros(count * room + 4096, np.uint8)
    start = -memory.ctypes.data % 4096
    pages = memory[start : start + count * room].reshape(count, room)
    pages[:] = np.random.default_rng(0).integers(0, 256, pages.shape, np.uint8)
    engine.pin(pages)
    yield [page[: prod(shape)].reshape(shape) for page in pages]
