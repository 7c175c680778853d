"""Runs a bundle's TensorRT-RTX engine on batches of every size, and compares each result with the right one.

    python rtx_runs.py <folder with a bundle>

prints, in JSON, the runs with wrong results, how many shapes were compiled, and the error that ended it.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt_rtx
from fake_gpu.plans import answer, features_of

from edge.bundle import Bundle, read_bundle
from edge.engines.base import Sample
from edge.engines.trt import TensorRTRTX
from edge.errors import EngineError

RUNS = 36


def wrong_runs(bundle: Bundle) -> list[int]:
    """Return the numbers of the runs in which a part got another result than the fake network gives."""
    manifest, wrong = bundle.manifest, []
    images = np.random.default_rng(0).integers(0, 255, (4, *manifest.input.shape), np.uint8)
    with TensorRTRTX(bundle, "fp32", 2, 0) as engine:
        reference = engine.reference(images[3]) if manifest.features else None
        features = features_of(manifest, images[3])
        for run in range(RUNS):
            shown = images[: run % engine.batch + 1]
            engine.submit(run % 2, [Sample(image, reference) for image in shown])
            told = engine.collect(run % 2)
            expected = [answer({"image": image, **features}, manifest.outputs) for image in shown]
            if not all(map(same, told, expected)):
                wrong.append(run)
    return wrong


def same(told: dict[str, Any], expected: dict[str, Any]) -> bool:
    return all(np.array_equal(told[name], output) for name, output in expected.items())


def main(folder: Path) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    said: dict[str, Any] = {"wrong": [], "error": ""}
    try:
        said["wrong"] = wrong_runs(read_bundle(folder))
    except EngineError as error:
        said["error"] = str(error)
    print(json.dumps(said | {"compiled": tensorrt_rtx.compiled}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
