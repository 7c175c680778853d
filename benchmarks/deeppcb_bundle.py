"""Makes the bundle `benchmarks/bundles/deeppcb` from DeepPCB's 1,000 training pairs.

The golden frames are rendered boards in black and white, since DeepPCB's own pictures may not be distributed.
With --checkpoint a finished training is exported, calibrated and packed. Training takes about an hour on two
idle cores; a stopped run goes on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import cv2

from trt_build.data.rendered import write_pairs

NOTICE = Path(__file__).parent / "bundles" / "NOTICE.txt"
BOARDS = 24


def write_black_and_white(folder: Path) -> None:
    """Write rendered pairs that look like DeepPCB's: copper black, everything else white."""
    write_pairs(folder, BOARDS, 640, 2)
    for path in folder.glob("*.png"):
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        _, picture = cv2.threshold(
            cv2.GaussianBlur(grey, (3, 3), 0), 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU
        )
        cv2.imwrite(str(path), picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to train and to pack the bundle in")
    parser.add_argument("--data", type=Path, help="folder with trainval/ (default: $EDGE_DATA/deeppcb)")
    parser.add_argument(
        "--checkpoint", type=Path, help="checkpoint.pt of a finished training (default: train one)"
    )
    parser.add_argument("--epochs", type=int, default=100, help="epochs of the training (default %(default)s)")
    given = parser.parse_args()
    if given.data is None and "EDGE_DATA" not in os.environ:
        sys.exit(
            "deeppcb_bundle: the data is not here: give --data, or set EDGE_DATA to the folder of deeppcb/"
        )
    pairs = (given.data or Path(os.environ["EDGE_DATA"]) / "deeppcb") / "trainval"
    folder = given.folder
    folder.mkdir(parents=True, exist_ok=True)

    def trt_build(*words: object) -> None:
        subprocess.run([sys.executable, "-m", "trt_build", *map(str, words)], check=True)

    checkpoint = given.checkpoint or folder / "run" / "checkpoint.pt"
    if not given.checkpoint:
        trt_build("train", "comparator", pairs, folder / "run", "--epochs", given.epochs)
    write_black_and_white(folder / "golden")
    trt_build("export", checkpoint, folder / "draft", "--data", pairs)
    trt_build("calibrate", folder / "draft", pairs)
    golden = ("--golden", folder / "golden", "--notice", NOTICE)
    trt_build("pack", folder / "draft", folder / "deeppcb", "--data", pairs, *golden)
    print(folder / "deeppcb")


if __name__ == "__main__":
    main()
