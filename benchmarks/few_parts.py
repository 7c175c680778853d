"""Measures what a method that learns from good parts gives when there are only few of them.

For each number of good pictures, a model is trained on a folder with so many, as a user would train it: about
a fifth is kept for the threshold. Smaller folders are parts of larger ones. The figures are AUROCs of pictures
and pixels of the FP32 network on all test parts; nothing is chosen by test parts. Prints a line of JSON for
each model, and appends it to a file. A model that is in the file is not trained again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from trt_build.data.parts import LabelledPart, pictures, read_parts, split_good
from trt_build.data.shares import share_of
from trt_build.figures.parts import JudgedPart, figures_of
from trt_build.methods.checkpoint import CHECKPOINT
from trt_build.methods.trained import load_trained

METHODS = ("gaussian", "stpm", "pfm", "autoencoder")
COUNTS = (5, 10, 20, 50, 150)
#: Number of pictures that are judged at once.
AT_ONCE = 8


def write_subset(parts: list[LabelledPart], count: int, folder: Path) -> Path:
    """Fill a folder with links to `count` good training pictures. A smaller count takes a subset of them."""
    ranked = sorted(parts, key=lambda part: share_of(f"few/{part.name}", 0))
    (folder / "train/good").mkdir(parents=True)
    for part in ranked[:count]:
        (folder / "train/good" / part.path.name).symlink_to(part.path.resolve())
    return folder


@torch.inference_mode()
def judged_by(checkpoint: Path, test: list[LabelledPart]) -> dict[str, float]:
    """Return the AUROCs of the trained FP32 network on test parts."""
    network = load_trained(checkpoint).network
    spec = network.config.spec  # type: ignore[union-attr]
    judged = []
    for start in range(0, len(test), AT_ONCE):
        few = test[start : start + AT_ONCE]
        scores, maps = network(torch.from_numpy(pictures(few, spec)))
        judged += [
            JudgedPart(part=part, score=float(score), map=map_.numpy().astype(np.float32))
            for part, score, map_ in zip(few, scores, maps, strict=True)
        ]
    figures = figures_of(judged, (spec.height, spec.width), threshold=0)
    return {name: round(figures[name], 4) for name in ("image_auroc", "pixel_auroc") if name in figures}


def train(method: str, folder: Path, run: Path, more: list[str]) -> float:
    """Train with the command line, and return the seconds that it took."""
    started = time.monotonic()
    words = ["train", method, str(folder), str(run), *more]
    subprocess.run([sys.executable, "-m", "trt_build", *words], check=True, stdout=sys.stderr)
    return time.monotonic() - started


def rows(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Yield the figures of each method and number of good parts that the file does not have yet."""
    known = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    parts = read_parts(options.data, mixed_sizes=True)
    more = ["--mixed-sizes"] + [word for text in options.train for word in text.split()]
    for count in sorted({min(count, len(parts.train)) for count in options.count or COUNTS}):
        for method in options.method or METHODS:
            key = {"method": method, "data": options.data.name, "good": count, "options": options.train}
            if any(key.items() <= line.items() for line in known):
                continue
            with tempfile.TemporaryDirectory() as temporary:
                folder = write_subset(parts.train, count, Path(temporary) / "parts")
                took = train(method, folder, Path(temporary) / "run", more)
                good = split_good(read_parts(folder, mixed_sizes=True).train)
                figures = judged_by(Path(temporary) / "run" / CHECKPOINT, parts.test)
            trained = len(good.fit) + len(good.validation)
            yield {**key, "trained": trained, **figures, "train_s": round(took, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "data", type=Path, help="folder of parts in MVTec AD's layout, with good and defective ones"
    )
    parser.add_argument(
        "out", type=Path, help="file to which the lines are appended; its models are not trained again"
    )
    parser.add_argument(
        "--method", action="append", choices=METHODS, help="train this method; may be repeated (default: all)"
    )
    parser.add_argument(
        "--count",
        action="append",
        type=int,
        help="number of good pictures; may be repeated (default: 5 to 150)",
    )
    parser.add_argument(
        "--train", action="append", default=[], help="options of the training, as in --train='--size 384'"
    )
    options = parser.parse_args()
    for row in rows(options):
        line = json.dumps(row)
        with options.out.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)


if __name__ == "__main__":
    main()
