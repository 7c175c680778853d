"""Runs a bundle's engine on batches of one, four and two parts, and prints by which profile each was run.

    python profile_runs.py <folder with a bundle>

prints, in JSON, for the line's engine and for one that is tuned for batches alone, the pairs of a profile and
the number of parts, and how many parts got another result than they should.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt
from fake_gpu.plans import answer

from edge.bundle import read_bundle
from edge.engines.base import Sample
from edge.engines.trt import TensorRT
from trt_build.engines.timing import TunedForBatches

COUNTS = (1, 4, 1, 2)


def main(folder: Path) -> dict[str, Any]:
    bundle = read_bundle(folder)
    shape, outputs = bundle.manifest.input.shape, bundle.manifest.outputs
    images = np.random.default_rng(0).integers(0, 255, (4, *shape), np.uint8)
    said: dict[str, Any] = {}
    for kind in (TensorRT, TunedForBatches):
        wrong = 0
        with kind(bundle, "fp32", 1, 0) as engine:
            for count in COUNTS:
                engine.submit(0, [Sample(image) for image in images[:count]])
                for image, told in zip(images, engine.collect(0), strict=False):
                    expected = answer({"image": image}, outputs)
                    wrong += any(not np.array_equal(told[name], expected[name]) for name in outputs)
            runs = {run for context in tensorrt.contexts for run in context.runs if run[1] in COUNTS}
            said[kind.__name__] = {"runs": sorted(runs), "wrong": wrong}
    return said


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
