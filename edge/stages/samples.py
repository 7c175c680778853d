"""Makes the samples that the judges' engines compute for a part, from what lies in the part's slot."""

from __future__ import annotations

import math
from collections.abc import Iterable
from mmap import mmap

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Image, Region, Sample
from ..image.warp import Warp
from ..memory.ring import as_image
from ..messages import Input, Part, Refused, Tensor
from ..tiles import Grid
from .judge_engine import JudgeEngine, Looks

#: The samples of a part, for each judge of its camera; none for a judge whose input was refused.
Samples = list[list[Sample]]


def samples_of(tensor: Tensor, looks: Looks) -> Samples:
    """Return a part's samples for each judge's engine, one a tile; none if its input was refused.

    `looks` is of the part's camera. Raise PartError if there is no master for the part, and SlotOverwritten if
    the part has lost its slot.
    """
    samples: Samples = []
    region = Region()  # of the frame, for all judges
    for number, (judge, input_) in enumerate(zip(looks.judges, tensor.inputs, strict=True)):
        if isinstance(input_, Refused):
            samples.append([])
            continue
        references = judge.references(tensor.part.view) if judge.references else [None] * judge.tiles
        with looks.ring.area(tensor.part, "tensor", number) as area:
            image, warp = as_image(area, judge.warper.shape), None
            if not input_.in_slot:
                image, warp = _from_frame(tensor.part, looks, judge, input_, image)
            if warp is not None:
                region.add(warp)
            slot = _slot(tensor.part, looks, number)
            shown = zip(_tiles(judge.grid, image, warp), references, strict=True)
            samples.append([Sample(tile, of, how, region, slot) for (tile, how), of in shown])
    return samples


def blank_memory(cameras: Iterable[Looks]) -> NDArray[np.uint8]:
    """Return new page-aligned memory of zeros, `(bytes,)` uint8, for a frame or an input of any camera."""
    shapes = [shape for looks in cameras for shape in (looks.frame, *(j.warper.shape for j in looks.judges))]
    return np.frombuffer(mmap(-1, max(map(math.prod, shapes))), np.uint8)


def samples_to_warm(looks: Looks, blank: NDArray[np.uint8]) -> Samples:
    """Return samples as of a part of the camera whose picture is black: what `blank_memory` returned.

    There are none for a judge whose engine cannot or need not be warmed.
    """
    samples: Samples = []
    region = Region()
    for judge in looks.judges:
        if not judge.can_warm:
            samples.append([])
            continue
        references = judge.references.latest() if judge.references else [None] * judge.tiles
        image, warp = as_image(blank, judge.warper.shape), None
        if judge.engine.warps_frames:
            image, warp = as_image(blank, looks.frame), judge.warper.warp(looks.frame)
            region.add(warp)
        shown = _tiles(judge.grid, image, warp)
        samples.append(
            [Sample(tile, of, how, region) for (tile, how), of in zip(shown, references, strict=True)]
        )
    return samples


def _slot(part: Part, looks: Looks, number: int) -> NDArray[np.uint8] | None:
    """Return the area of the part's slot that takes the outputs of a judge's engine as they are, if any."""
    if not looks.judges[number].fills_slot:
        return None
    with looks.ring.area(part, "outputs", number) as area:
        return area


def _from_frame(
    part: Part, looks: Looks, judge: JudgeEngine, input_: Input, out: Image
) -> tuple[Image, Warp | None]:
    """Return the image and the warp for an engine whose input is not in the part's slot.

    If the engine can warp, these are the frame and its warp. Otherwise, the frame is warped into `out`, and
    `out` is returned with None. That happens if a restarted infer uses an engine that cannot warp.
    """
    warp = judge.warper.warp_by(looks.frame, input_.to_frame)
    with looks.ring.area(part, "frame") as area:
        frame = as_image(area, looks.frame)
        if judge.engine.warps_frames:
            return frame, warp
        warp.apply(frame, out, judge.references.master(part.view) if judge.references else None)
    return out, None


def _tiles(grid: Grid | None, image: Image, warp: Warp | None) -> list[tuple[Image, Warp | None]]:
    """Return the image and the warp for each tile of a part: tiles of the image, or windows of the warp."""
    if grid is None:
        return [(image, warp)]
    if warp is None:
        return [(tile, None) for tile in grid.cut(image)]
    return [(image, warp.window(*place, grid.height, grid.width)) for place in grid.places]
