"""What INT8 loses and gains against FP32, on OpenVINO and ONNX Runtime: quality in points, and milliseconds.

Both precisions judge the same labelled pictures in turns, so that a slow minute slows both. Where
`ONEDNN_MAX_CPU_ISA` says so, OpenVINO computes as a processor with fewer instructions (AVX2: without VNNI).
Ends with one line of JSON: `speedup` is FP32's median time over INT8's, `lost` is AUROC in points, for a
comparator AP at IoU 0.33.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from edge.bundle import Model, read_model
from edge.engines import open_engine, processor
from edge.engines.base import Outputs, Sample, ask
from edge.manifest import Precision
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer
from trt_build.engines.verify import Measure
from trt_build.methods.table import method_of

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
#: Instructions that add INT8 products in 32 bits; without them, sums of two products have 16 bits.
INT8_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "asimddp", "i8mm"})
KINDS = ("openvino", "onnxruntime")
TIMED = 40  # pictures that are timed, after as many judged


def compare(kind: str, bundle: Model, cases: list[Case], measure: Measure) -> dict[str, float]:
    """Quality and time of both precisions on one engine."""
    with ExitStack() as opened:
        engines = {
            precision: opened.enter_context(open_engine(EngineChoice(kind=kind, precision=precision), bundle))
            for precision in PRECISIONS
        }
        said: dict[Precision, list[Outputs]] = {precision: [] for precision in PRECISIONS}
        for case in cases:
            for precision, engine in engines.items():
                said[precision].append(answer(engine, bundle.manifest, case))
        took: dict[Precision, list[float]] = {precision: [] for precision in PRECISIONS}
        for case in cases[:TIMED]:
            for precision, engine in engines.items():
                compares = bundle.manifest.features and case.master is not None
                sample = Sample(case.image, engine.reference(case.master) if compares else None)
                ask(engine, sample.image, sample.reference)
                started = time.perf_counter()
                ask(engine, sample.image, sample.reference)
                took[precision].append(1000 * (time.perf_counter() - started))
    quality = {precision: measure(said[precision]) for precision in PRECISIONS}
    middle = {precision: float(np.median(took[precision])) for precision in PRECISIONS}
    return {
        "fp32": quality["fp32"],
        "int8": quality["int8"],
        "lost": quality["fp32"] - quality["int8"],
        "speedup": middle["fp32"] / middle["int8"],
        **{f"{p}_ms_p50": middle[p] for p in PRECISIONS},
        **{f"{p}_ms_p99": float(np.percentile(took[p], 99)) for p in PRECISIONS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a draft or a bundle with FP32 and INT8")
    parser.add_argument("data", type=Path, help="labelled pictures, laid out as the method needs them")
    options = parser.parse_args()
    bundle = read_model(options.model)
    labelled, measure = method_of(bundle.manifest.method).labelled(options.data, bundle)
    cases = list(labelled)
    report: dict[str, object] = {
        "model": options.model.name,
        "method": bundle.manifest.method,
        "data": options.data.name,
        "cpu": processor.name(),
        "vnni": bool(INT8_DOT_PRODUCTS & processor.instructions()),
        "limited_to": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
        "pictures": len(cases),
    }
    for kind in KINDS:
        found = compare(kind, bundle, cases, measure)
        report[kind] = {name: round(value, 3) for name, value in found.items()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
