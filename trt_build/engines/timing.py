"""Times an engine on this GPU as a line uses it, so that a line can take the fastest precision."""

from __future__ import annotations

import statistics
import time

import numpy as np

from edge.bundle import Model
from edge.engines import open_engine
from edge.engines.base import Engine, Sample
from edge.engines.compiled import Measured
from edge.engines.trt import TensorRT
from edge.recipe import EngineChoice

#: Parts that are timed, one after another.
RUNS = 200
#: Seconds of work before them. An idle GPU runs at a low clock.
WARM_UP_S = 0.5


class TunedForBatches(TensorRT):
    """Runs one part, too, by the kernels that TensorRT chose for a full batch."""

    alone = False


def measured(bundle: Model, choice: EngineChoice) -> Measured:
    """Return how long the engine takes for one part alone, from the picture to its outputs on the CPU.

    A part is one sample, or all tiles of a bundle with tiles, as many as the engine takes at once.
    """
    with open_engine(choice, bundle) as engine:
        ms, precision = part_ms(engine, bundle), engine.precision
        has_both = engine.name == "tensorrt" and engine.most_samples > 1 and bundle.manifest.grid.count == 1
    for_batches_ms = None
    if has_both:
        with TunedForBatches(bundle, precision, 1, 0) as engine:
            for_batches_ms = part_ms(engine, bundle)
    return Measured(ms=ms, runs=RUNS, for_batches_ms=for_batches_ms)


def part_ms(engine: Engine, bundle: Model) -> float:
    """Return the median of RUNS parts, one after another."""
    manifest = bundle.manifest
    count = min(manifest.grid.count, engine.most_samples)
    pictures = np.random.default_rng(0).integers(0, 256, (count, *manifest.input.shape), np.uint8)
    reference = engine.reference(pictures[0]) if manifest.features else None
    part = [Sample(picture, reference) for picture in pictures]

    def once_ms() -> float:
        started = time.perf_counter()
        engine.submit(0, part)
        engine.collect(0)
        return 1e3 * (time.perf_counter() - started)

    warm = time.perf_counter() + WARM_UP_S
    while time.perf_counter() < warm:
        once_ms()
    return round(statistics.median(once_ms() for _ in range(RUNS)), 4)
