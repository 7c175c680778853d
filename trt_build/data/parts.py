"""Reads a folder in the layout of MVTec AD: pictures of parts with a label and, if defective, a mask.

    train/good/<id>.*                    good parts only
    test/good/<id>.*                     good parts for the test; all of test/ may be missing
    test/<kind>/<id>.*                   defective parts, one folder for each kind of defect
    ground_truth/<kind>/<id>_mask.png    mask of the picture's size; not 0 at the defect
    ignore.png                           mask of the pictures' size; not 0 where nothing is judged; optional

A mask may be empty. The part then counts as defective, but all its pixels count as good. Without
ground_truth/ there are no masks, so no figures for pixels are computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.bundle import Model
from edge.image.ignore import at_input
from edge.image.ignore import mask_of as mask_in
from edge.image.warp import Warper
from edge.manifest import InputSpec
from edge.text import readable
from edge.tiles import Grid
from trt_build.data.errors import DatasetError, raise_mistakes
from trt_build.data.pictures import entries, is_picture, read_picture
from trt_build.data.shares import share_of
from trt_build.data.unfit import GOOD, IGNORE, unfit

Picture = npt.NDArray[np.uint8]

SHARES = {"fit": 0.7, "validation": 0.1, "calibration": 0.2}
#: Least number of parts that check the training; with fewer than EACH times as many, one in EACH does.
LEAST, EACH = 5, 8


@dataclass(frozen=True, kw_only=True)
class LabelledPart:
    """A picture file of a part, with its label and the path of its mask."""

    name: str  # kind and file name, such as "crack/012"
    kind: str  # "good", or the kind of defect
    path: Path
    mask: Path | None = None  # of a defective part, if the folder has masks
    ignore: Path | None = None  # mask of what is not judged, if the folder has one
    tiles: tuple[int, int] = (1, 1)  # columns and rows of inputs into which the picture is cut in training

    @property
    def is_good(self) -> bool:
        """True if the part has no defect."""
        return self.kind == GOOD


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All parts in a folder, as a training list and a test list. Both are sorted by kind and name."""

    train: list[LabelledPart]  # all good
    test: list[LabelledPart]


@dataclass(frozen=True, kw_only=True)
class Good:
    """Good parts in three separate lists: to train, to check the training, and to set thresholds."""

    fit: list[LabelledPart]
    validation: list[LabelledPart]
    calibration: list[LabelledPart]


def read_parts(folder: Path, *, mixed_sizes: bool = False) -> Parts:
    """Check every file in a folder and return its parts. Raise DatasetError if there are mistakes.

    All pictures must have the same size, unless `mixed_sizes` is True. A training picture must have no copy in
    the training list or in the test list.
    """
    train, test = _labelled(folder, "train"), _labelled(folder, "test")
    raise_mistakes(unfit(folder, train, test, _ignore(folder), mixed_sizes=mixed_sizes))
    return Parts(train=train, test=test)


def split_good(parts: Sequence[LabelledPart], *, seed: int = 0) -> Good:
    """Split good parts into about 70 % to train, 10 % to check the training, and 20 % to set thresholds.

    Only a part's name and the seed decide whether it sets thresholds, so a part that was trained with never
    does, however many parts are added later. With few parts, one in eight of the others checks the training,
    and a list may be empty.
    """
    ends = np.cumsum(list(SHARES.values()))
    shares = {part.name: share_of(part.name, seed) for part in parts}
    seen = sorted(share for share in shares.values() if share < ends[1])
    checking = max(LEAST, sum(share >= ends[0] for share in seen))
    if len(seen) < EACH * LEAST:
        checking = math.ceil(len(seen) / EACH)
    start = seen[-checking] if checking else ends[0]
    return Good(
        fit=[part for part in parts if shares[part.name] < start],
        validation=[part for part in parts if start <= shares[part.name] < ends[1]],
        calibration=[part for part in parts if shares[part.name] >= ends[1]],
    )


def picture(part: LabelledPart, spec: InputSpec) -> Picture:
    """Return a part's whole picture as the model's input, `(1, C, H, W)` uint8, resized as on the line.

    What is not judged is painted flat, as on the line.
    """
    out = np.empty(spec.shape, np.uint8)
    frame = frame_of(part)
    Warper(None, spec, ignored=ignored_at(part, spec)).warp(frame.shape).apply(frame, out)
    return out


def pictures(parts: Sequence[LabelledPart], spec: InputSpec) -> Picture:
    """Return the pictures of N parts as model inputs, `(N, C, H, W)` uint8; of parts with tiles, all tiles.

    Raise DatasetError if a picture is smaller than its tiles together, since they would only magnify it.
    """
    tiles = [tile for part in parts for tile in _tiles(part, spec)]
    return np.concatenate([np.empty((0, *spec.shape[1:]), np.uint8), *tiles])


def whole_of(part: LabelledPart, spec: InputSpec) -> InputSpec:
    """Return the size and colour of a part's whole picture, if a tile of it has those in `spec`."""
    height, width = Grid(*part.tiles, spec.height, spec.width).size
    return InputSpec(height=height, width=width, color=spec.color)


def _tiles(part: LabelledPart, spec: InputSpec) -> list[Picture]:
    """Return the tiles of a part's picture, each `(1, C, H, W)` uint8."""
    grid, whole = Grid(*part.tiles, spec.height, spec.width), whole_of(part, spec)
    if grid.count > 1:
        height, width = frame_of(part).shape[:2]
        if height < whole.height or width < whole.width:
            raise DatasetError(
                f"{part.path}: is {width}x{height}, smaller than {grid.columns}x{grid.rows} tiles of "
                f"{spec.width}x{spec.height}, {whole.width}x{whole.height}: train with fewer or smaller tiles"
            )
    return grid.cut(picture(part, whole))


def mask_of(part: LabelledPart, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return a part's mask, scaled to `shape`, `(H, W)` bool: True at the defect; all False without a mask."""
    if part.mask is None:
        return np.zeros(shape, bool)
    mask = read_picture(part.mask)
    grey = mask if mask.ndim == 2 else mask.max(axis=2)
    return np.asarray(cv2.resize(grey, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0)


def ignored_at(part: LabelledPart, spec: InputSpec) -> npt.NDArray[np.bool_] | None:
    """Return what of a model's input is not judged, `(H, W)` bool, or None if all of it is."""
    return None if part.ignore is None else at_input(mask_in(read_picture(part.ignore)), spec)


def as_learned(parts: Sequence[LabelledPart], model: Model) -> list[LabelledPart]:
    """Return the parts with the mask of what the model does not judge, which it was trained with.

    Raise DatasetError if the folder of parts has another mask.
    """
    file, learned = model.manifest.ignored, model.ignored()
    for part in parts[:1]:
        mask = ignored_at(part, model.manifest.picture)
        if mask is not None and (learned is None or not np.array_equal(mask, learned)):
            how = "without a mask" if learned is None else "with another mask"
            raise DatasetError(
                f"{part.ignore}: {model.manifest.name} was trained {how}: train it with this one, or take the "
                "mask out"
            )
    path = model.folder / file.path if file else None
    return [replace(part, ignore=path) for part in parts]


def frame_of(part: LabelledPart) -> Picture:
    """Return a part's picture in its original size: `(H, W)` grey or `(H, W, 3)` BGR, uint8."""
    return read_picture(part.path)


def _labelled(folder: Path, half: str) -> list[LabelledPart]:
    """Return the parts in the inner folder `half`, which is `train` or `test`."""
    has_masks = bool(entries(folder / "ground_truth"))
    return [
        LabelledPart(
            name=readable(f"{label.name}/{path.stem}"),
            kind=readable(label.name),
            path=path,
            mask=None if label.name == GOOD or not has_masks else _mask(folder, label.name, path),
            ignore=_ignore(folder),
        )
        for label in entries(folder / half)
        for path in entries(label)
        if is_picture(path)
    ]


def _ignore(folder: Path) -> Path | None:
    """Return the path of the mask of what is not judged, or None if the folder has none."""
    return folder / IGNORE if (folder / IGNORE).exists() else None


def _mask(folder: Path, kind: str, path: Path) -> Path:
    """Return the path at which the mask of a picture is expected."""
    return folder / "ground_truth" / kind / f"{path.stem}_mask.png"
