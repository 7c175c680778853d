"""Times the checks of JPEG and PNG beside their decoding."""

from __future__ import annotations

import time

import cv2
import numpy as np
from coded_boards import FORMATS, Image, board, coded

from edge.pictures import check_jpeg, decode_jpeg
from edge.pictures.png import check_png


def cost(repeats: int) -> dict[str, object]:
    """Return the median and 99th percentile in ms of check and decoder at 2448x2048, and the medians' ratio."""
    found: dict[str, object] = {}
    kinds = [(kind, color) for kind in FORMATS for color in ("gray", "bgr")]
    for kind, color in kinds:
        data = coded(board(2, 2048, 2448, color), kind)
        check = check_png if kind == "png" else check_jpeg
        array = np.frombuffer(data, np.uint8)

        def opencv(array: Image = array) -> None:
            cv2.imdecode(array, cv2.IMREAD_UNCHANGED)

        def bare(data: bytes = data, kind: str = kind) -> None:
            opencv() if kind == "png" else decode_jpeg(data)

        times: dict[str, list[float]] = {"check": [], "with check": [], "OpenCV": []}
        for _ in range(repeats):
            for name, run in (("check", lambda: check(data)), ("with check", bare), ("OpenCV", opencv)):  # noqa: B023
                start = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - start) * 1e3)
        median = {name: float(np.median(each)) for name, each in times.items()}
        decoding = median["with check"] - (0 if kind == "png" else median["check"])
        found[f"{kind}, {color}"] = {
            "bytes": len(data),
            "ms": {
                name: [round(float(np.percentile(each, p)), 3) for p in (50, 99)]
                for name, each in times.items()
            },
            "check to decoding": round(median["check"] / decoding, 4),
        }
    return found
