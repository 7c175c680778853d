"""Runs a line on a folder's test parts, and compares its verdicts with those of `trt-build evaluate`.

`evaluate --verdicts` writes the expected verdicts. `edge run` plays the same parts, and `edge watch --json` in
another process writes down the verdicts. Pictures of one size are played as they are, others at the model's
size. Ends with one line of JSON; the status is 1 if a verdict is missing, comes twice or differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from deeppcb_line import play

from edge.bundle import read_bundle
from trt_build.data.parts import LabelledPart, frame_of, picture, read_parts

RECIPE = """\
line = "parts-{pid}"
{judge}

[source]
kind = "folder"
files = "{folder}/frames/*"
width = {width}
height = {height}
color = "{color}"
fps = {fps}

[timing]
deadline_ms = 500

[publish]
endpoints = ["ipc://{folder}/verdicts.ipc"]

[metrics]
port = 0
"""


def write_recipe(folder: Path, judge: str, *, width: int, height: int, color: str, fps: float) -> Path:
    """Write the recipe of a line that plays the frames in `folder`, with a judge given as lines of TOML."""
    path = folder / "recipe.toml"
    text = RECIPE.format(
        pid=os.getpid(), judge=judge, folder=folder, width=width, height=height, color=color, fps=fps
    )
    path.write_text(text)
    return path


def write_frames(folder: Path, parts: list[LabelledPart], bundle: Path) -> tuple[int, int]:
    """Write the parts' pictures into `folder` in their order; return the width and height of all."""
    spec = read_bundle(bundle).manifest.input
    shapes = {frame_of(part).shape for part in parts}
    for number, part in enumerate(parts):
        if len(shapes) == 1 and len(frame_of(part).shape) == 3:
            (folder / f"{number:05d}{part.path.suffix}").symlink_to(part.path.resolve())
        else:
            planes = picture(part, spec)[0]
            bgr = np.moveaxis(planes[::-1] if spec.color == "rgb" else planes, 0, -1)
            cv2.imwrite(str(folder / f"{number:05d}.png"), bgr)
    height, width, *_ = cv2.imread(str(next(iter(sorted(folder.iterdir()))))).shape
    return width, height


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder of the packed bundle to run")
    parser.add_argument("data", type=Path, help="folder of parts in MVTec AD's layout")
    parser.add_argument("--fps", type=float, default=20.0, help="parts played a second (default %(default)s)")
    given = parser.parse_args()
    parts = read_parts(given.data, mixed_sizes=True).test
    with tempfile.TemporaryDirectory(prefix="parts-line-") as name:
        folder = Path(name)
        (folder / "frames").mkdir()
        width, height = write_frames(folder / "frames", parts, given.bundle)
        predicted = folder / "predicted.jsonl"
        words = ["evaluate", given.bundle, given.data, "--verdicts", predicted]
        subprocess.run([sys.executable, "-m", "trt_build", *map(str, words)], check=True, stdout=sys.stderr)
        expected = [json.loads(line) for line in predicted.read_text().splitlines()]
        judge = f'bundle = "{given.bundle.resolve()}"'
        recipe = write_recipe(folder, judge, width=width, height=height, color="bgr", fps=given.fps)
        verdicts = play(recipe, f"ipc://{folder}/verdicts.ipc", len(parts))
    once = [verdict.part_id for verdict in verdicts] == [
        f"{verdicts[0].epoch}-{n}" for n in range(1, len(parts) + 1)
    ]
    differ = [
        said["part"]
        for said, verdict in zip(expected, verdicts, strict=True)
        if verdict.verdict != ("reject" if said["reject"] else "pass")
    ]
    good = [part.is_good for part in parts]
    report = {
        "parts": len(parts),
        "verdicts": len(verdicts),
        "exactly_once": once,
        "differ": differ,
        "escapes": sum(v.verdict == "pass" and not g for v, g in zip(verdicts, good, strict=True)),
        "overkill": sum(v.verdict != "pass" and g for v, g in zip(verdicts, good, strict=True)),
        "unknown": sum(v.verdict == "unknown" for v in verdicts),
        "latency_ms_p50": round(float(np.median([v.latency_us["total"] for v in verdicts])) / 1000, 2),
    }
    print(json.dumps(report))
    return 0 if once and not differ else 1


if __name__ == "__main__":
    sys.exit(main())
