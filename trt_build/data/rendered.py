"""Writes a training set of computer-generated boards, in DeepPCB's layout and aligned as on the line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.image.masters import Masters
from edge.image.prepare import Preparer
from edge.manifest import InputSpec
from edge.recipe import Preprocess
from edge.render.board import design
from edge.render.defects import KINDS, Box, add_defect
from edge.render.photo import BoardPose, master, photograph
from trt_build.data.pictures import save
from trt_build.terminal.progress import counted

#: Number of the first design for training. Lower numbers are for lines and are never trained with.
FIRST_DESIGN = 1000


def write_pairs(folder: Path, boards: int, size: int, seed: int) -> None:
    """Draw `boards` boards of different designs. Write the master, picture and defects of each to `folder`.

    Sets with different seeds share no design if each has fewer than 100,000 boards.
    Every tenth board is good; the others have up to eight defects. Pictures have `size` x `size` pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index in counted(range(boards), "rendering boards"):
        plan = design(FIRST_DESIGN + 100_000 * seed + index, size, size)
        rng = np.random.default_rng([11, seed, index])
        art, temp = plan.art.copy(), master(plan)
        boxes: list[Box] = []
        lines = []
        for number in rng.integers(0, len(KINDS), 0 if index % 10 == 9 else rng.integers(3, 9)):
            box = add_defect(art, KINDS[number], rng, boxes)
            if box is not None:
                boxes.append(box)
                lines.append(" ".join(str(value) for value in (*box, number + 1)))
        part = photograph(art, plan, BoardPose.any(rng), rng)
        test = registered(part, temp)
        name = f"{seed:02d}{index:05d}"
        save(folder / f"{name}_temp.png", temp)
        save(folder / f"{name}_test.png", test)
        (folder / f"{name}.txt").write_text("".join(line + "\n" for line in lines))


def registered(part: NDArray[np.uint8], temp: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture `part`, aligned with the master `temp` as on the line. All are `(H, W)` uint8 grey."""
    preprocess, spec = Preprocess(), InputSpec(height=temp.shape[0], width=temp.shape[1])
    masters = Masters(lambda view: (temp, view), preprocess, spec, temp.shape)
    image = np.empty(spec.shape, np.uint8)
    Preparer(preprocess, spec, masters).prepare(part, "board", image)
    return image.reshape(temp.shape)
