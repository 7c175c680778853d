"""Counts the decisions in which FP16 differs from FP32 on labelled pictures, on a CPU that emulates FP16.

A checkpoint is exported in FP32 and FP16, and its thresholds are set by FP32's scores. Every labelled picture
is judged by both, by FP16 node by node (`trt_build/engines/emulated.py`), since the runtimes of a CPU would not
round. A GPU adds in another order, so it may differ. With --float8 FP8 is judged too. Ends with one line of
JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.bundle import read_draft
from edge.engines import open_engine
from edge.judges.golden import scores
from edge.manifest import Precision
from trt_build.data.cases import answer
from trt_build.engines.emulated import Emulated
from trt_build.engines.verify import REFERENCE
from trt_build.graphs.fp8 import add_fp8
from trt_build.graphs.fp16 import add_fp16
from trt_build.graphs.fp32 import export_checkpoint
from trt_build.graphs.int8 import add_int8
from trt_build.methods.table import method_of
from trt_build.packing.threshold import CalibrationOptions


def compare(draft: Path, tested: Path, precisions: Sequence[Precision]) -> dict[str, object]:
    """Return the figures over all labelled pictures."""
    bundle = read_draft(draft)
    manifest = bundle.manifest
    cases, _ = method_of(manifest.method).labelled(tested, bundle)
    engines = {name: Emulated(bundle, name) for name in precisions}
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("fp32", *precisions)}
    with open_engine(REFERENCE, bundle) as reference:
        for engine in engines.values():
            engine.__enter__()
        for case in cases:
            wanted = answer(reference, manifest, case)
            found["fp32"].append(scores(wanted))
            for name, engine in engines.items():
                outputs = answer(engine, manifest, case)
                found[name].append(scores(outputs))
        for engine in engines.values():
            engine.__exit__(None, None, None)
    limits = np.array([bundle.thresholds[kind] for kind in manifest.kinds], np.float32)
    exact = np.array(found["fp32"])
    from_threshold = np.abs(exact - limits) / limits
    report: dict[str, object] = {
        "method": manifest.method,
        "pictures": len(exact),
    }
    for name in precisions:
        apart = np.abs(np.array(found[name]) - exact)
        flipped = (np.array(found[name]) >= limits) != (exact >= limits)
        report |= {
            f"{name}_flipped": int(flipped.any(axis=1).sum()),
            f"{name}_flipped_within": float(from_threshold[flipped].max(initial=0)),  # parts of the threshold
            f"{name}_largest_of_score": float((apart / np.abs(exact)).max()),
            f"{name}_largest_of_threshold": float((apart / limits).max()),
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="the checkpoint.pt that a training wrote")
    parser.add_argument(
        "data", type=Path, help="folder that was trained with; its kept pictures set the thresholds"
    )
    parser.add_argument(
        "--tested", type=Path, help="folder of labelled pictures to measure on; left out, the same folder"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=0.05,
        help="share of good parts that may be rejected (default %(default)s)",
    )
    parser.add_argument("--float8", action="store_true", help="measure FP8 too, besides FP16")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft"
        export_checkpoint(options.checkpoint, draft)
        method = method_of(read_draft(draft).manifest.method)
        shown = method.calibration_pictures(options.data, read_draft(draft).manifest.input)
        method.calibrate(draft, options.data, CalibrationOptions(rate=options.rate))
        add_fp16(draft, shown)
        if options.float8:
            add_int8(draft, shown)
            add_fp8(draft)
        precisions: tuple[Precision, ...] = ("fp16", "fp8") if options.float8 else ("fp16",)
        report = compare(draft, options.tested or options.data, precisions)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    print(json.dumps({"data": options.data.name} | report))


if __name__ == "__main__":
    main()
