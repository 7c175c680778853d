"""Trains a method on a folder of parts by the command line, and measures the model on the test parts.

For each seed a model is trained, exported and calibrated. The figures are those of the INT8 graph on the engine
that a line would take, at the threshold that good parts set; nothing is chosen by test parts. Ends with one
line of JSON: means over the seeds and, with several seeds, standard deviations as `<name>_sd`. For a matcher
the data are a folder of products or one of two public files, see `matching.py`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from latency import latency_ms

from edge.bundle import read_draft
from edge.recipe import EngineChoice
from trt_build.data.parts import picture, read_parts
from trt_build.figures.parts import evaluate

SHOWN = ("image_auroc", "pixel_auroc", "aupro30", "aupro05", "pixel_ap", "escape", "overkill")


def run_seed(options: argparse.Namespace, folder: Path, seed: int) -> dict[str, float]:
    """Train with one seed; return the figures."""
    if options.method == "matcher":
        # Imported only here: it imports torch, whose memory would be counted as a training's.
        import matching

        return matching.run_seed(options, folder, seed)

    def trt_build(*words: object) -> float:
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "trt_build", *map(str, words)], check=True, stdout=sys.stderr)
        return time.monotonic() - started

    more = ["--mixed-sizes"] if options.mixed_sizes else []
    more += ["--backbone", options.backbone] if options.backbone else []
    more += ["--second", options.second] if options.second else []
    more += ["--seed", seed] if options.method != "gaussian" else []
    more += ["--size", options.size] if options.size else []
    more += ["--as-published"] if options.as_published else []
    more += ["--position"] if options.position else []
    more += ["--epochs", options.epochs] if options.epochs else []
    run, draft = folder / "run", folder / "draft"
    took = trt_build("train", options.method, options.data, run, *more)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    trt_build("export", run / "checkpoint.pt", draft, "--data", options.data)
    trt_build("calibrate", draft, options.data, "--rate", options.rate)
    bundle = read_draft(draft)
    found = evaluate(bundle, options.data, EngineChoice(precision="int8")).figures
    exact = evaluate(bundle, options.data, EngineChoice(precision="fp32")).figures
    test = read_parts(options.data, mixed_sizes=True).test
    return {
        **compared(found, exact),
        "train_s": took,
        "peak_mb": peak,
        "ms_int8": latency_ms(draft, [picture(part, bundle.manifest.input) for part in test[:32]]),
    }


def compared(int8: dict[str, float], fp32: dict[str, float]) -> dict[str, float]:
    """Return the figures of INT8 that are shown, and AUROCs of FP32. Without masks there are none of pixels."""
    return {
        **{name: int8[name] for name in SHOWN if name in int8},
        **{f"{name}_fp32": fp32[name] for name in ("image_auroc", "pixel_auroc") if name in fp32},
        "image_auroc_lost": fp32["image_auroc"] - int8["image_auroc"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--method",
        required=True,
        choices=("autoencoder", "gaussian", "stpm", "pfm", "matcher"),
        help="method whose model is trained and measured",
    )
    parser.add_argument(
        "--data", required=True, type=Path, help="folder of pictures, laid out as the method needs it"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="trainings, each with another seed (default %(default)s)"
    )
    parser.add_argument("--as-published", action="store_true", help="train as the method's source does")
    parser.add_argument("--batch", type=int, help="pairs in a batch of a matcher (default: the method's own)")
    parser.add_argument(
        "--pairs-per-epoch", type=int, help="pairs in an epoch of a matcher as published (default: 180000)"
    )
    parser.add_argument("--epochs", type=int, help="epochs of each training (default: the method's own)")
    parser.add_argument("--size", help="size of the pictures, such as 384 or 384x256 (default: 256x256)")
    parser.add_argument("--backbone", help="pre-trained network to start from (default: the method's own)")
    parser.add_argument("--second", help="second pre-trained network, for pfm or for a second pair of stpm")
    parser.add_argument(
        "--position", action="store_true", help="give pfm the position in the picture as a feature"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=0.05,
        help="share of good parts that may be rejected (default %(default)s)",
    )
    parser.add_argument(
        "--mixed-sizes",
        action="store_true",
        help="accept pictures of different sizes, each scaled to the model's",
    )
    parser.add_argument(
        "--work", type=Path, help="folder to train in, which is kept; a stopped run goes on there"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        runs = []
        for seed in range(options.seeds):
            runs.append(run_seed(options, work / f"seed-{seed}", seed))
            print(json.dumps({"seed": seed} | {k: round(v, 4) for k, v in runs[-1].items()}), file=sys.stderr)
    report = {name: round(float(np.mean([run[name] for run in runs])), 4) for name in runs[0]}
    if len(runs) > 1:
        report |= {
            f"{name}_sd": round(float(np.std([run[name] for run in runs], ddof=1)), 4) for name in runs[0]
        }
    print(json.dumps({"method": options.method, "data": options.data.name, "seeds": options.seeds} | report))


if __name__ == "__main__":
    main()
