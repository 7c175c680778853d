"""Estimates the rate of parts and the deadline that a line can keep on this machine, by timing its engines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .bundle import Bundle
from .engines.base import Engine, Sample

#: Parts judged before the timing starts.
WARM_UP = 3
#: Parts timed; on a slow machine only FEWEST, if they take longer than LONGEST_S.
PARTS, FEWEST, LONGEST_S = 20, 5, 1.5
#: Share of the engines' rate alone that is left beside the line's other processes; 0.66 to 1 were measured.
SHARE = 0.6
#: Time for capture, preprocessing of 640x640, messages between processes and publish; 4 to 6 ms were measured.
LINE_MS = 12.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long one engine takes for a part on this machine while no other engine runs, in milliseconds."""

    one_ms: float  # for one part at a time, 99th percentile
    each_ms: float  # from part to part with all lanes busy


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The most parts per second and the shortest deadline that a line can keep on this machine."""

    parts_per_s: float
    deadline_ms: float  # from capture to the verdict

    def __str__(self) -> str:
        return f"about {self.parts_per_s:.3g} parts a second and a deadline of {self.deadline_ms:.0f} ms"


def time_engine(engine: Engine, bundle: Bundle, tiles: int = 1) -> Timing:
    """Measure how long an engine takes for a part of so many tiles. This takes a second or two.

    The parts are golden frames. The engine is timed first with one part at a time, then with a part on every
    lane at once.
    """
    samples = _parts(_samples(engine, bundle), tiles)
    for part in samples[:WARM_UP]:
        _judge(engine, part)
    one_ms: list[float] = []
    started = time.perf_counter()
    while _wanted(len(one_ms), started):
        before, part = time.perf_counter(), samples[len(one_ms) % len(samples)]
        _judge(engine, part)
        one_ms.append(1000 * (time.perf_counter() - before))
    return Timing(one_ms=float(np.percentile(one_ms, 99)), each_ms=_each_ms(engine, samples))


def capacity_of(timings: Sequence[Timing], guard_ms: float) -> Capacity:
    """Return the rate and deadline that a line with these engines and the recipe's `guard_ms` can keep."""
    return Capacity(
        parts_per_s=SHARE * 1000 / sum(timing.each_ms for timing in timings),
        deadline_ms=LINE_MS + guard_ms + sum(timing.one_ms for timing in timings),
    )


def _judge(engine: Engine, part: Sequence[Sample]) -> None:
    engine.submit(0, part)
    engine.collect(0)


def _each_ms(engine: Engine, samples: Sequence[Sequence[Sample]]) -> float:
    started, count = time.perf_counter(), 0
    while _wanted(count, started):
        lane = count % engine.lanes
        if count >= engine.lanes:
            engine.collect(lane)
        engine.submit(lane, samples[count % len(samples)])
        count += 1
    for lane in range(min(engine.lanes, count)):
        engine.collect(lane)
    return 1000 * (time.perf_counter() - started) / count


def _wanted(count: int, started: float) -> bool:
    """Return whether to time another part, if `count` parts have been timed since the time `started`."""
    return count < FEWEST or (count < PARTS and time.perf_counter() - started < LONGEST_S)


def _parts(samples: Sequence[Sample], tiles: int) -> list[list[Sample]]:
    """Return as many parts as there are samples, each of so many samples that follow one another."""
    return [[samples[(start + tile) % len(samples)] for tile in range(tiles)] for start in range(len(samples))]


def _samples(engine: Engine, bundle: Bundle) -> list[Sample]:
    """Return the tiles of the golden frames as inputs. If the bundle has no frames, return one blank input."""
    spec, cut = bundle.manifest.input, bundle.manifest.grid.cut
    shown = [
        pair
        for case in bundle.golden()
        for pair in zip(cut(case.image), cut(case.image if case.master is None else case.master), strict=True)
    ]
    blank = np.zeros(spec.shape, np.uint8)
    compares = bool(bundle.manifest.features)
    return [
        Sample(image, engine.reference(master) if compares else None)
        for image, master in shown or [(blank, blank)]
    ]
