"""Makes the bundle of `edge demo`: renders boards, trains on them, exports, calibrates and packs.

The designs that the demonstration shows are not trained on. Their masters go into the bundle, and boards of
them are its golden frames. Takes about twenty minutes on two idle cores; a stopped run goes on. Ends with the
folder of the bundle, which is to replace `edge/demo/bundle`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from edge.demo import FOLDER
from edge.recipe import Synthetic
from edge.recipe_file import read_recipe
from edge.render.board import design
from edge.render.defects import KINDS, add_defect
from edge.render.photo import BoardPose, master, photograph
from trt_build.data.rendered import registered

#: Designs and the defect on each of their golden boards: three, for a bundle under 5 MB with FP32 in it.
GOLDEN = {0: ("copper",), 1: ("open",), 2: ("pin-hole",)}


def write_shown(folder: Path) -> None:
    """Write the masters of the designs that the demonstration shows, and the labelled golden boards."""
    recipe, _ = read_recipe(FOLDER / "recipe.toml")
    source = recipe.source
    assert isinstance(source, Synthetic)
    for name in ("masters", "golden"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(source.views):
        plan = design(number, source.height, source.width)
        cv2.imwrite(str(folder / f"masters/{plan.view}.png"), master(plan))
        for kind_name in GOLDEN.get(number, ()):
            kind = KINDS.index(kind_name)
            rng = np.random.default_rng([13, number, kind])
            art = plan.art.copy()
            box = add_defect(art, kind_name, rng, [])
            board = registered(photograph(art, plan, BoardPose.any(rng), rng), master(plan))
            name = f"{plan.view}-{kind_name}"
            cv2.imwrite(str(folder / f"golden/{name}_temp.png"), master(plan))
            cv2.imwrite(str(folder / f"golden/{name}_test.png"), board)
            line = " ".join(str(value) for value in (*box, kind + 1)) + "\n" if box else ""
            (folder / f"golden/{name}.txt").write_text(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to train and to pack the bundle in")
    parser.add_argument(
        "--boards", type=int, default=900, help="rendered boards to train with (default %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=44, help="epochs of the training (default %(default)s)")
    given = parser.parse_args()
    folder = given.folder

    def trt_build(*words: object) -> None:
        subprocess.run([sys.executable, "-m", "trt_build", *map(str, words)], check=True)

    pairs, draft, bundle = folder / "pairs", folder / "draft", folder / "demo"
    if not pairs.exists():
        trt_build("render", pairs, "--boards", given.boards, "--seed", 1)
    write_shown(folder)
    trt_build("train", "comparator", pairs, folder / "run", "--epochs", given.epochs)
    trt_build("export", folder / "run" / "checkpoint.pt", draft, "--data", pairs, "--small")
    trt_build("calibrate", draft, pairs)
    shown = ("--masters", folder / "masters", "--golden", folder / "golden")
    trt_build("pack", draft, bundle, "--data", pairs, *shown, "--precision", "int8")
    print(bundle)


if __name__ == "__main__":
    main()
