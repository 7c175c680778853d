"""Reads a folder in the layout of MVTec AD: pictures of parts with a label and, if defective, a mask.

    train/good/<id>.*                    good parts only
    test/good/<id>.*                     good parts for the test; all of test/ may be missing
    test/<kind>/<id>.*                   defective parts, one folder for each kind of defect
    ground_truth/<kind>/<id>_mask.png    mask of the picture's size; not 0 at the defect

A mask may be empty. The part then counts as defective, but all its pixels count as good. Without
ground_truth/ there are no masks, so no figures for pixels are computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.image.warp import Warper
from edge.manifest import InputSpec
from edge.text import readable
from trt_build.data.errors import raise_mistakes
from trt_build.data.pictures import entries, is_picture, read_picture
from trt_build.data.shares import share_of
from trt_build.data.unfit import GOOD, unfit

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
    raise_mistakes(unfit(folder, train, test, mixed_sizes=mixed_sizes))
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
    """Return a part's whole picture as the model's input, `(1, C, H, W)` uint8, resized as on the line."""
    out = np.empty(spec.shape, np.uint8)
    frame = frame_of(part)
    Warper(None, spec).warp(frame.shape).apply(frame, out)
    return out


def pictures(parts: Sequence[LabelledPart], spec: InputSpec) -> Picture:
    """Return the pictures of N parts as model inputs, `(N, C, H, W)` uint8."""
    return np.concatenate([np.empty((0, *spec.shape[1:]), np.uint8), *(picture(part, spec) for part in parts)])


def mask_of(part: LabelledPart, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return a part's mask, scaled to `shape`, `(H, W)` bool: True at the defect; all False without a mask."""
    if part.mask is None:
        return np.zeros(shape, bool)
    mask = read_picture(part.mask)
    grey = mask if mask.ndim == 2 else mask.max(axis=2)
    return np.asarray(cv2.resize(grey, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0)


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
        )
        for label in entries(folder / half)
        for path in entries(label)
        if is_picture(path)
    ]


def _mask(folder: Path, kind: str, path: Path) -> Path:
    """Return the path at which the mask of a picture is expected."""
    return folder / "ground_truth" / kind / f"{path.stem}_mask.png"
