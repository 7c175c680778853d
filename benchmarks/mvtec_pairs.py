"""Makes pairs of a good part as the master and another part, with masks, from a product of MVTec AD.

MVTec's defective parts are all in its test set. Here half of them are for training: sorted by kind and name,
the first, third, fifth and so on of each kind. The other half, and all good parts of the test set, are for the
test. The good parts of the training set are for training, each with another good part as its master. All test
pairs have the same master, the first good part that lies best on the others. Parts are registered to their
masters as on a line, and scaled to `--size`. All defects are of one kind, `defect`.

Writes DIR/train and DIR/test, and prints one line of JSON with their numbers of pairs. Then:

    trt-build train comparator DIR/train run/
    trt-build evaluate run/checkpoint.pt DIR/test --chosen-on DIR/train
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import PartError
from edge.image.picture import grey
from edge.image.register import Template, register
from edge.recipe import Register
from trt_build.data.parts import LabelledPart, frame_of, mask_of, read_parts
from trt_build.data.pictures import save

Picture = NDArray[np.uint8]

#: Good parts that are tried as the master of the test, and good parts that lie on each.
TRIED, SHOWN = 8, 12
#: A part may be turned and shifted far, since nothing holds it in place.
MOTION = Register(max_shift_px=40.0, max_rotation_deg=10.0)


def main() -> None:
    given = _options()
    parts = read_parts(given.product)
    defective = [part for part in parts.test if not part.is_good]
    by_kind = {
        kind: [part for part in defective if part.kind == kind]
        for kind in dict.fromkeys(p.kind for p in defective)
    }
    learned = [part for those in by_kind.values() for part in those[::2]]
    kept = [part for those in by_kind.values() for part in those[1::2]]
    good = [_scaled(part, given.size) for part in parts.train]
    rng = np.random.default_rng(0)
    master = best_master(good)
    (given.folder / "train").mkdir(parents=True, exist_ok=True)
    (given.folder / "test").mkdir(parents=True, exist_ok=True)
    for part in (*parts.train, *learned):
        other = good[int(rng.integers(len(good)))]
        write_pair(given.folder / "train", part, other, given.size)
    test = [*(part for part in parts.test if part.is_good), *kept]
    for part in test:
        write_pair(given.folder / "test", part, master, given.size)
    print(
        json.dumps(
            {
                "train_good": len(parts.train),
                "train_defective": len(learned),
                "test_good": len(test) - len(kept),
                "test_defective": len(kept),
            }
        )
    )


def best_master(good: Sequence[Picture]) -> Picture:
    """Return the one of the first good parts on which others lie with the smallest mean difference."""
    shown = [good[i] for i in range(TRIED, min(TRIED + SHOWN, len(good)))]

    def difference(master: Picture) -> float:
        return float(np.mean([cv2.absdiff(registered(part, master)[0], master).mean() for part in shown]))

    return min(good[:TRIED], key=difference)


def registered(part: Picture, master: Picture, mask: Picture | None = None) -> tuple[Picture, Picture | None]:
    """Return the part and its mask, moved onto the master; unmoved if it cannot be registered.

    Pixels that the part does not cover are the master's.
    """
    try:
        matrix = register(grey(part), Template(grey(master), MOTION)).matrix
    except PartError:
        return part, mask
    size = master.shape[1::-1]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(
        part, matrix, size, dst=master.copy(), flags=flags, borderMode=cv2.BORDER_TRANSPARENT
    )
    if mask is None:
        return np.asarray(moved, np.uint8), None
    nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return np.asarray(moved, np.uint8), np.asarray(cv2.warpAffine(mask, matrix, size, flags=nearest), np.uint8)


def write_pair(folder: Path, part: LabelledPart, master: Picture, size: int) -> None:
    """Write a part with its master and its mask, which is black for a good part."""
    mask = np.where(mask_of(part, (size, size)), np.uint8(255), np.uint8(0))
    board, moved = registered(_scaled(part, size), master, mask)
    assert moved is not None
    name = part.name.replace("/", "-")
    save(folder / f"{name}_temp.png", master)
    save(folder / f"{name}_test.png", board)
    save(folder / f"{name}_mask.png", moved)


def _scaled(part: LabelledPart, size: int) -> Picture:
    return np.asarray(cv2.resize(frame_of(part), (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write train/ and test/ to")
    parser.add_argument("--product", type=Path, help="MVTec's folder (default: $EDGE_DATA/mvtec/bottle)")
    parser.add_argument(
        "--size", type=int, default=256, help="side of the pictures in pixels (default %(default)s)"
    )
    options = parser.parse_args()
    if options.product is None:
        if "EDGE_DATA" not in os.environ:
            sys.exit(
                "mvtec_pairs: the data is not here: give --product, or set EDGE_DATA to the folder of mvtec/"
            )
        options.product = Path(os.environ["EDGE_DATA"]) / "mvtec" / "bottle"
    return options


if __name__ == "__main__":
    main()
