"""Runs `edge run` on DeepPCB's test boards and good boards, and compares its verdicts with the annotation.

Every test board is played once, and `--clean` good boards: masters shifted by up to three pixels, with noise,
as JPEG. A subscriber in another process, `edge watch --json`, writes down the verdicts. A board with a defect
that passes is an escape; a good one that does not pass is overkill. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.messages import Verdict
from edge.render.defects import KINDS
from edge.wire import verdict_from
from trt_build.data.pairs import Pair, read_pairs
from trt_build.figures.boxes import overlaps

BUNDLE = Path(__file__).parent / "bundles" / "deeppcb"
OVERLAP = 0.33

RECIPE = """\
line = "deeppcb-{pid}"
bundle = "{bundle}"
masters = "{test}/{{view}}_temp.jpg"
masters_kept = 500

[engine]
reference_mb = 2400

[source]
kind = "folder"
files = "{folder}/frames/*.{{view}}.jpg"
width = 640
height = 640
fps = {fps}

[publish]
endpoints = ["ipc://{folder}/verdicts.ipc"]

[metrics]
port = 0
"""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A picture that is played: a test board with its pair, or a good board without one."""

    view: str
    pair: Pair | None


def write_frames(folder: Path, test: Path, pairs: Sequence[Pair], clean: int) -> list[Board]:
    """Write the pictures into `folder` in the order in which they are played, test and good boards mixed."""
    rng = np.random.default_rng(0)
    boards = [Board(view=pair.name, pair=pair) for pair in pairs]
    boards += [Board(view=pairs[i % len(pairs)].name, pair=None) for i in range(clean)]
    boards = [boards[i] for i in rng.permutation(len(boards))]
    for number, board in enumerate(boards):
        path = folder / f"{number:05d}.{board.view}.jpg"
        if board.pair:
            path.symlink_to((test / f"{board.view}_test.jpg").resolve())
        else:
            master = cv2.imread(str(test / f"{board.view}_temp.jpg"), cv2.IMREAD_GRAYSCALE)
            x, y = rng.uniform(-3, 3, 2)
            moved = cv2.warpAffine(
                master, np.array([[1, 0, x], [0, 1, y]]), master.shape[::-1], borderMode=cv2.BORDER_REPLICATE
            )
            noisy = moved + rng.normal(0, 6, moved.shape)
            cv2.imwrite(str(path), np.clip(noisy, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return boards


def play(recipe: Path, endpoint: str, count: int) -> list[Verdict]:
    """Run the line once over its folder; return the verdicts in the order in which the subscriber got them."""
    watch = [sys.executable, "-m", "edge", "watch", endpoint, "--json", "--count", str(count)]
    environment = {**os.environ, "XDG_STATE_HOME": str(recipe.parent / "state")}
    with subprocess.Popen(watch, stdout=subprocess.PIPE) as subscriber:
        subprocess.run([sys.executable, "-m", "edge", "run", str(recipe)], check=True, env=environment)
        heard, _ = subscriber.communicate(timeout=60)
    return [verdict_from(line) for line in heard.splitlines()]


def compare(boards: Sequence[Board], verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Return the figures of the verdicts, compared with the annotation."""
    ids = [verdict.part_id for verdict in verdicts]
    defects = found = escapes = overkill = 0
    for board, verdict in zip(boards, verdicts, strict=True):
        assert verdict.view == board.view
        bad = board.pair is not None and len(board.pair.boxes) > 0
        escapes += bad and verdict.verdict == "pass"
        overkill += not bad and verdict.verdict != "pass"
        if board.pair is None:
            continue
        for box, kind in zip(board.pair.boxes, board.pair.kinds, strict=True):
            told = [[r.x, r.y, r.x + r.w, r.y + r.h] for r in verdict.regions if r.kind == KINDS[kind]]
            defects += 1
            found += bool(told) and float(overlaps(np.array([box]), np.array(told)).max()) > OVERLAP
    latency_ms = [verdict.latency_us["total"] / 1000 for verdict in verdicts]
    return {
        "parts": len(boards),
        "verdicts": len(verdicts),
        "exactly_once": ids == [f"{verdicts[0].epoch}-{number}" for number in range(1, len(boards) + 1)],
        **{kind: sum(v.verdict == kind for v in verdicts) for kind in ("pass", "reject", "unknown")},
        "unknown_reasons": Counter(v.reason for v in verdicts if v.verdict == "unknown"),
        "boards": sum(board.pair is not None for board in boards),
        "clean": sum(board.pair is None for board in boards),
        "escapes": escapes,
        "overkill": overkill,
        "defects": defects,
        "defects_found": found,
        "after_deadline": sum(v.published_ns > v.deadline_ns for v in verdicts),
        "latency_ms": {f"p{q}": round(float(np.percentile(latency_ms, q)), 2) for q in (50, 99)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bundle", type=Path, default=BUNDLE, help="folder of a packed comparator (default %(default)s)"
    )
    parser.add_argument("--data", type=Path, help="folder with test/ (default: $EDGE_DATA/deeppcb)")
    parser.add_argument(
        "--clean", type=int, default=250, help="number of good boards to play too (default %(default)s)"
    )
    parser.add_argument("--fps", type=float, default=20.0, help="boards played a second (default %(default)s)")
    given = parser.parse_args()
    if given.data is None and "EDGE_DATA" not in os.environ:
        sys.exit("deeppcb_line: the data is not here: give --data, or set EDGE_DATA to the folder of deeppcb/")
    test = (given.data or Path(os.environ["EDGE_DATA"]) / "deeppcb") / "test"
    with tempfile.TemporaryDirectory(prefix="deeppcb-line-") as name:
        folder = Path(name)
        (folder / "frames").mkdir()
        boards = write_frames(folder / "frames", test, read_pairs(test), given.clean)
        recipe = folder / "recipe.toml"
        text = RECIPE.format(
            pid=os.getpid(), bundle=given.bundle.resolve(), test=test.resolve(), folder=folder, fps=given.fps
        )
        recipe.write_text(text)
        verdicts = play(recipe, f"ipc://{folder}/verdicts.ipc", len(boards))
    print(json.dumps(compare(boards, verdicts)))


if __name__ == "__main__":
    main()
