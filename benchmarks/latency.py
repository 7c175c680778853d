"""Times one picture on the engine that a line would take, by a draft's INT8 graph and nothing else running."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.bundle import read_draft
from edge.engines import open_engine
from edge.engines.base import Image, Sample
from edge.recipe import EngineChoice

TIMED, WARM_UP = 300, 50


def latency_ms(draft: Path, inputs: Sequence[Image]) -> float:
    """Return the median time in ms from an input in memory, `(1, C, H, W)` uint8, to outputs."""
    taken = []
    with open_engine(EngineChoice(precision="int8", lanes=1), read_draft(draft)) as engine:
        for i in range(WARM_UP + TIMED):
            started = time.perf_counter()
            engine.submit(0, [Sample(inputs[i % len(inputs)])])
            engine.collect(0)
            taken.append(time.perf_counter() - started)
    return float(np.median(taken[WARM_UP:])) * 1000
