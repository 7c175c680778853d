"""Simulates lines: how often alarms are false, how soon they see a change, and what measuring health costs.

Scores and pictures are simulated from a seed; a delay is the number of parts from the change to the alarm. The
times are CPU times of one thread on rendered boards. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import cv2
import numpy as np

from edge.alarms.drift import Drift
from edge.alarms.pictures import Picture, Pictures
from edge.alarms.rate import RejectRate
from edge.engines.processor import name as processor_name
from edge.image.health import HealthMeter
from edge.image.masters import Masters
from edge.image.prepare import Preparer
from edge.judges.pvalue import p_value
from edge.manifest import InputSpec
from edge.messages import Health
from edge.recipe import AlarmLimits, Preprocess
from edge.render.board import design
from edge.render.photo import BoardPose, master, photograph

LIMITS = AlarmLimits()
SCORES = 200
#: A change that is not seen within so many parts counts as not seen.
MOST_PARTS = 3000


def summary(delays: list[int | None]) -> dict[str, int]:
    """Return median and 90th percentile of the delays, and how many changes were not seen."""
    seen = [delay for delay in delays if delay is not None]
    p50, p90 = (round(float(p)) for p in np.percentile(seen or [MOST_PARTS], [50, 90]))
    return {"p50": p50, "p90": p90, "not_seen": len(delays) - len(seen)}


def drift_delay(rng: np.random.Generator, before: int, by: float) -> int | None:
    """Return after how many parts a rise of all scores by so many standard deviations is seen."""
    calibration = np.sort(rng.standard_normal(SCORES))
    drift, parts = Drift(SCORES), rng.standard_normal(before + MOST_PARTS)
    parts[before:] += by
    ps = p_value(parts, calibration)
    for number, (p, tie) in enumerate(zip(ps.tolist(), rng.random(len(ps)).tolist(), strict=True), 1):
        drift.note(p, tie)
        if drift.capital >= 1 / LIMITS.drift_false_alarm:
            return number - before if number > before else 0
    return None


def false_drifts(rng: np.random.Generator, lines: int, parts: int) -> dict[str, float]:
    """Return the share of lines without a change whose capital ever reaches 1 / the promised share."""
    most = []
    for _ in range(lines):
        calibration = np.sort(rng.standard_normal(SCORES))
        ps = p_value(rng.standard_normal(parts), calibration)
        drift, highest = Drift(SCORES), 0.0
        for p, tie in zip(ps.tolist(), rng.random(parts).tolist(), strict=True):
            drift.note(p, tie)
            highest = max(highest, drift.capital)
        most.append(highest)
    return {str(share): float(np.mean(np.array(most) >= 1 / share)) for share in (0.1, 0.01, 0.001, 0.0001)}


def rate_delay(rng: np.random.Generator, rejected: float) -> int | None:
    """Return after how many parts a rise to this rate is seen, from a line whose window is full of 5 %."""
    rate = RejectRate(LIMITS.reject_rate, LIMITS.window)
    for one in (rng.random(LIMITS.window) < 0.05).tolist():
        rate.note(one)
    for number, one in enumerate((rng.random(MOST_PARTS) < rejected).tolist(), 1):
        rate.note(one)
        if rate.is_over:
            return number
    return None


def picture_delay(rng: np.random.Generator, parts: int, spread: float, by: float) -> int | None:
    """Return after how many parts a loss of sharpness is seen. `spread` and `by` are shares of the mean."""
    pictures = Pictures(LIMITS)
    for number in range(LIMITS.learn + parts):
        lost = by if number >= LIMITS.learn else 0.0
        image = Health(level=90.0, saturated=0.0, focus=(1 - lost) * (1 + spread * rng.standard_normal()))
        pictures.note(Picture(camera="camera", view="a", image=image, registration_px=None), True)
        if pictures.moved("focus")[0]:
            return number + 1 - LIMITS.learn
    return None


def health_cost(height: int, width: int, repeats: int) -> dict[str, float]:
    """Return the median ms of the measurement and of the rest of preprocessing, and their ratio."""
    board, spec, preprocess = design(5, height, width), InputSpec(height=640, width=640), Preprocess()
    flawless = master(board)
    preparer = Preparer(
        preprocess, spec, Masters(lambda view: (flawless, view), preprocess, spec, flawless.shape), None
    )
    frame = photograph(board.art, board, BoardPose(dx_px=3.0, rotation_deg=0.5), np.random.default_rng(1))
    meter, out = HealthMeter(None, None, is_live=True), np.empty(spec.shape, np.uint8)

    def median_ms(work: Callable[[], object]) -> float:
        times = []
        for _ in range(repeats):
            start = time.thread_time()
            work()
            times.append((time.thread_time() - start) * 1e3)
        return float(np.median(times))

    health_ms = median_ms(lambda: meter.measure(frame))
    prepare_ms = median_ms(lambda: preparer.prepare(frame, "a", out))
    return {
        "health_ms": round(health_ms, 3),
        "prepare_ms": round(prepare_ms, 3),
        "ratio": round(health_ms / prepare_ms, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="simulated lines for each figure")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulated lines")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rng, runs = np.random.default_rng(options.seed), options.runs
    found = {
        "cpu": processor_name(),
        "runs": runs,
        "seed": options.seed,
        "drift_false_share_in_2000_parts": false_drifts(rng, runs, 2000),
        "drift_delay": {
            f"after {before} parts, by {by} sd": summary(
                [drift_delay(rng, before, by) for _ in range(runs // 4)]
            )
            for before in (0, 1000, 20_000)
            for by in (0.25, 0.5, 1.0, 2.0)
        },
        "reject_rate_delay": {
            f"to {rejected:.0%}": summary([rate_delay(rng, rejected) for _ in range(runs)])
            for rejected in (0.3, 0.4, 0.6, 1.0)
        },
        "focus_delay": {
            f"spread {spread:.0%}, loss {by:.0%}": summary(
                [picture_delay(rng, MOST_PARTS, spread, by) for _ in range(runs)]
            )
            for spread, by in ((0.05, 0.35), (0.05, 0.5), (0.15, 0.35), (0.15, 0.5), (0.3, 0.5))
        },
        "focus_false_in_3000_parts": {
            f"spread {spread:.0%}": sum(
                picture_delay(rng, MOST_PARTS, spread, 0.0) is not None for _ in range(runs)
            )
            for spread in (0.05, 0.15, 0.3, 0.6)
        },
        "health": {f"{w}x{h}": health_cost(h, w, 50) for w, h in ((640, 640), (2448, 2048))},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
