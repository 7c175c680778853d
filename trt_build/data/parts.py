"""A folder in MVTec AD's layout into parts: pictures with their label and, where defective, their mask.

    train/good/<id>.*                    good parts alone
    test/good/<id>.*                     good parts kept for testing; may be missing like all of test/
    test/<kind>/<id>.*                   defective parts, a folder for each kind of defect
    ground_truth/<kind>/<id>_mask.png    of its picture's size, not 0 where the defect is

A mask may be empty: that part counts as defective, and no place on it does. Without any ground_truth/ there are
no masks, and no figures of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.image.warp import Warper
from edge.manifest import InputSpec
from edge.text import readable
from trt_build.data.errors import DatasetError, raise_mistakes
from trt_build.data.pictures import entries, is_picture, read_picture
from trt_build.data.shares import share_of
from trt_build.data.unfit import GOOD, unfit

Picture = npt.NDArray[np.uint8]

SHARES = {"fit": 0.7, "validation": 0.1, "calibration": 0.2}
#: With fewer than 19 scores no threshold holds the false rejects below 5 %, the weakest rate worth a promise.
LEAST = {"fit": 20, "validation": 5, "calibration": 19}
ENOUGH = 150  # good parts fill each share with a chance of 99 %


@dataclass(frozen=True, kw_only=True)
class LabelledPart:
    """A picture on disk and what is known of it."""

    name: str  # "crack/012": its kind and its file's name
    kind: str  # "good", or the folder's name
    path: Path
    mask: Path | None = None  # of a defective part, where the folder has masks

    @property
    def is_good(self) -> bool:
        return self.kind == GOOD


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All parts of a folder, by kind and name."""

    train: list[LabelledPart]  # good ones
    test: list[LabelledPart]


@dataclass(frozen=True, kw_only=True)
class Good:
    """Good parts to train with, to look at while training, and to set thresholds with: no part is in two."""

    fit: list[LabelledPart]
    validation: list[LabelledPart]
    calibration: list[LabelledPart]


def read_parts(folder: Path, *, mixed_sizes: bool = False) -> Parts:
    """The parts of a folder; every file is opened, and `DatasetError` tells everything that is wrong.

    All pictures are of one size unless `mixed_sizes`. No training picture comes twice or in the test.
    """
    train, test = _labelled(folder, "train"), _labelled(folder, "test")
    raise_mistakes(unfit(folder, train, test, mixed_sizes=mixed_sizes))
    return Parts(train=train, test=test)


def split_good(parts: Sequence[LabelledPart], *, seed: int = 0) -> Good:
    """Good parts into about 70, 10 and 20 %; a part's place depends on its name and the seed alone.

    So parts that are added later move no other part. `DatasetError` where a share has too few.
    """
    shares: dict[str, list[LabelledPart]] = {name: [] for name in SHARES}
    ends = np.cumsum(list(SHARES.values()))
    for part in parts:
        place = np.searchsorted(ends[:-1], share_of(part.name, seed), side="right")
        shares[list(SHARES)[int(place)]].append(part)
    if any(len(shares[name]) < LEAST[name] for name in SHARES):
        found = ", ".join(f"{len(shares[name])} for {name} (at least {LEAST[name]})" for name in SHARES)
        raise DatasetError(
            f"{len(parts)} good parts give {found}: take more pictures of good parts, {ENOUGH} would do"
        )
    return Good(**shares)


def picture(part: LabelledPart, spec: InputSpec) -> Picture:
    """The model's input `(1, C, H, W)` uint8, laid out as on the line: the whole picture, resampled."""
    out = np.empty(spec.shape, np.uint8)
    frame = frame_of(part)
    Warper(None, spec).warp(frame.shape).apply(frame, out)
    return out


def pictures(parts: Sequence[LabelledPart], spec: InputSpec) -> Picture:
    """The inputs `(N, C, H, W)` uint8 of many parts."""
    return np.concatenate([np.empty((0, *spec.shape[1:]), np.uint8), *(picture(part, spec) for part in parts)])


def mask_of(part: LabelledPart, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Where the defect is, `(H, W)` of this shape, by nearest neighbour; nowhere without a mask."""
    if part.mask is None:
        return np.zeros(shape, bool)
    mask = read_picture(part.mask)
    grey = mask if mask.ndim == 2 else mask.max(axis=2)
    return np.asarray(cv2.resize(grey, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0)


def frame_of(part: LabelledPart) -> Picture:
    """The picture as it is stored, `(H, W)` grey or `(H, W, 3)` BGR."""
    return read_picture(part.path)


def _labelled(folder: Path, half: str) -> list[LabelledPart]:
    """The parts of `train` or `test`."""
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
    return folder / "ground_truth" / kind / f"{path.stem}_mask.png"
