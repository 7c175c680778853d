"""Registers rendered boards by edge/image/register.py and by OpenCV's findTransformECC: error and time of each.

A board's error is the largest distance, over the corners of the picture, between a corner's place and the place
that the found pose gives it. Times are CPU time of one thread. Ends with one line of JSON. Needs
`pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.engines.processor import name as processor_name
from edge.image.register import Template, register
from edge.recipe import Register
from edge.render.board import design
from edge.render.photo import BoardPose, master, photograph

Picture = NDArray[np.uint8]
Find = Callable[[Picture], NDArray[np.float64]]
ITERATIONS, EPSILON, BLUR_PX = 50, 1e-4, 5


def ours(flawless: Picture, limits: Register) -> Find:
    """As the line does it."""
    template = Template(flawless, limits)
    return lambda part: register(part, template).matrix


def ecc(flawless: Picture, shrink: int) -> Find:
    """OpenCV's, from no motion on, on pictures reduced by `shrink`."""
    size = (flawless.shape[1] // shrink, flawless.shape[0] // shrink)
    reduced = cv2.resize(flawless, size, interpolation=cv2.INTER_AREA)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, EPSILON)

    def find(part: Picture) -> NDArray[np.float64]:
        small, start = cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.eye(2, 3, dtype=np.float32)
        _, found = cv2.findTransformECC(reduced, small, start, cv2.MOTION_EUCLIDEAN, criteria, None, BLUR_PX)
        matrix = found.astype(np.float64)
        matrix[:, 2] = shrink * matrix[:, 2] + (shrink - 1) / 2 * (1 - matrix[:, :2].sum(axis=1))
        return matrix

    return find


def measure(find: Find, parts: list[tuple[Picture, BoardPose]]) -> dict[str, float]:
    """Median and largest error in pixels, boards that were lost, and CPU time of a board."""
    errors, times_ms, lost = [], [], 0
    for part, pose in parts:
        height, width = part.shape
        corners = np.array([(x, y, 1) for x in (0, width - 1) for y in (0, height - 1)], np.float64)
        start_s = time.thread_time()
        try:
            found = find(part)
        except (cv2.error, ValueError):
            lost += 1
            continue
        finally:
            times_ms.append(1e3 * (time.thread_time() - start_s))
        off = (found - pose.matrix(height, width)) @ corners.T
        errors.append(float(np.hypot(*off).max()))
    return {
        "error_px_p50": round(float(np.median(errors)), 3),
        "error_px_max": round(max(errors), 3),
        "off_by_a_pixel": sum(error > 1 for error in errors) + lost,
        "ms_p50": round(float(np.median(times_ms)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--boards", type=int, default=60, help="boards to render for each reach")
    parser.add_argument("--size", type=int, default=640, help="width and height of the picture in pixels")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    size, rng, figures = options.size, np.random.default_rng(0), {}
    for reach_px, turn_deg in ((6, 0.7), (20, 2.5)):
        plan = design(1, size, size)
        flawless = master(plan)
        poses = [
            BoardPose(
                dx_px=rng.uniform(-reach_px, reach_px),
                dy_px=rng.uniform(-reach_px, reach_px),
                rotation_deg=rng.uniform(-turn_deg, turn_deg),
            )
            for _ in range(options.boards)
        ]
        parts = [(photograph(plan.art, plan, pose, rng), pose) for pose in poses]
        limits = Register(max_shift_px=40, max_rotation_deg=5)
        ways = {"ours": ours(flawless, limits), "ecc": ecc(flawless, 1), "ecc_of_a_quarter": ecc(flawless, 4)}
        figures[f"within {reach_px} px"] = {name: measure(find, parts) for name, find in ways.items()}
    print(json.dumps({"cpu": processor_name(), "opencv": cv2.__version__, "size": size, "figures": figures}))


if __name__ == "__main__":
    main()
