"""A folder in MVTec AD's layout into parts: pictures with their label and, where defective, their mask.

    train/good/<id>.*                    good parts alone
    test/good/<id>.*                     good parts kept for testing; may be missing like all of test/
    test/<kind>/<id>.*                   defective parts, a folder for each kind of defect
    ground_truth/<kind>/<id>_mask.png    of its picture's size, not 0 where the defect is

A mask may be empty: that part counts as defective, and no place on it does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import PartError
from edge.manifest import InputSpec
from edge.resample import Resampler
from edge.sources.folder import decoded
from trt_build.dataset import PICTURES, DatasetError

Picture = npt.NDArray[np.uint8]

GOOD = "good"
SHARES = {"fit": 0.7, "validation": 0.1, "calibration": 0.2}
#: With fewer than 19 scores no threshold holds the false rejects below 5 %, the weakest rate worth a promise.
LEAST = {"fit": 20, "validation": 5, "calibration": 19}
ENOUGH = 150  # good parts fill each share with a chance of 99 %


@dataclass(frozen=True, kw_only=True)
class Part:
    """A picture on disk and what is known of it."""

    name: str  # "crack/012": its kind and its file's name
    kind: str  # "good", or the folder's name
    path: Path
    mask: Path | None = None  # of a defective part

    @property
    def is_good(self) -> bool:
        return self.kind == GOOD


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All parts of a folder, by kind and name."""

    train: list[Part]  # good ones
    test: list[Part]


@dataclass(frozen=True, kw_only=True)
class Good:
    """Good parts to train with, to look at while training, and to set thresholds with: no part is in two."""

    fit: list[Part]
    validation: list[Part]
    calibration: list[Part]


def read_parts(folder: Path, *, mixed_sizes: bool = False) -> Parts:
    """The parts of a folder; every file is opened, and `DatasetError` names the first that is wrong.

    All pictures are of one size unless `mixed_sizes`. No training picture comes twice or in the test.
    """
    train, test = _labelled(folder, "train"), _labelled(folder, "test")
    if not any(part.is_good for part in train):
        raise DatasetError(
            f"{folder / 'train' / GOOD}: expected pictures of good parts ({', '.join(PICTURES)}), found none: "
            "put them there, without any defective one"
        )
    for part in train:
        if not part.is_good:
            raise DatasetError(
                f"{part.path}: only good parts are trained with, and this one is labelled {part.kind!r}: "
                f"move its folder to {folder / 'test'}"
            )
    _check_strays(folder, test)
    sizes = [_check(part) for part in (*train, *test)]
    for part, size in zip((*train, *test), sizes, strict=True):
        if size != sizes[0] and not mixed_sizes:
            raise DatasetError(
                f"{part.path}: is {_words(size)}, {train[0].path.name} is {_words(sizes[0])}: cut or take all "
                "pictures alike, or train with --mixed-sizes if the parts are of different sizes"
            )
    _check_copies(train, test)
    return Parts(train=train, test=test)


def split_good(parts: Sequence[Part], *, seed: int = 0) -> Good:
    """Good parts into about 70, 10 and 20 %; a part's place depends on its name and the seed alone.

    So parts that are added later move no other part. `DatasetError` where a share has too few.
    """
    shares: dict[str, list[Part]] = {name: [] for name in SHARES}
    ends = np.cumsum(list(SHARES.values()))
    for part in parts:
        digest = hashlib.sha256(f"{seed}:{part.name}".encode()).digest()
        chance = int.from_bytes(digest[:8], "big") / 2**64
        shares[list(SHARES)[int(np.searchsorted(ends[:-1], chance, side="right"))]].append(part)
    if any(len(shares[name]) < LEAST[name] for name in SHARES):
        found = ", ".join(f"{len(shares[name])} for {name} (at least {LEAST[name]})" for name in SHARES)
        raise DatasetError(
            f"{len(parts)} good parts give {found}: take more pictures of good parts, {ENOUGH} would do"
        )
    return Good(**shares)


def picture(part: Part, spec: InputSpec) -> Picture:
    """The model's input `(1, C, H, W)` uint8, laid out as on the line: the whole picture, resampled."""
    out = np.empty(spec.shape, np.uint8)
    Resampler(None, spec).lay(frame_of(part), out)
    return out


def pictures(parts: Sequence[Part], spec: InputSpec) -> Picture:
    """The inputs `(N, C, H, W)` uint8 of many parts."""
    return np.concatenate([np.empty((0, *spec.shape[1:]), np.uint8), *(picture(part, spec) for part in parts)])


def mask_of(part: Part, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Where the defect is, `(H, W)` of this shape, by nearest neighbour; nowhere on a good part."""
    if part.mask is None:
        return np.zeros(shape, bool)
    mask = _decode(part.mask)
    grey = mask if mask.ndim == 2 else mask.max(axis=2)
    return np.asarray(cv2.resize(grey, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0)


def frame_of(part: Part) -> Picture:
    """The picture as it is stored, `(H, W)` grey or `(H, W, 3)` BGR."""
    return _decode(part.path)


def _labelled(folder: Path, half: str) -> list[Part]:
    """The parts of `train` or `test`."""
    parts = []
    for label in _seen(folder / half):
        if label.is_file() and label.suffix.lower() in PICTURES:
            raise DatasetError(
                f"{label}: lies in no label's folder: move it to {folder / half / GOOD}"
                + (" if the part is good, else to one with the defect's name" if half == "test" else "")
            )
        names: dict[str, Path] = {}
        for path in _seen(label):
            if path.suffix.lower() not in PICTURES:
                continue
            if path.stem in names:
                raise DatasetError(f"{path}: {names[path.stem].name} has the same name: rename one of them")
            names[path.stem] = path
            mask = folder / "ground_truth" / label.name / f"{path.stem}_mask.png"
            name, is_good = f"{label.name}/{path.stem}", label.name == GOOD
            parts.append(Part(name=name, kind=label.name, path=path, mask=None if is_good else mask))
    return parts


def _seen(folder: Path) -> list[Path]:
    """What a folder holds, by name, without hidden files."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _check_strays(folder: Path, test: Sequence[Part]) -> None:
    """Every mask belongs to a defective part, and every defective part has one."""
    masks = {part.mask for part in test}
    for kind in _seen(folder / "ground_truth"):
        for path in _seen(kind):
            if path.suffix.lower() in PICTURES and path not in masks:
                raise DatasetError(
                    f"{path}: belongs to no picture: expected <id>_mask.png for a picture <id> of a defective "
                    f"part in {folder / 'test' / kind.name}: add that picture, or take the mask out"
                )
    for part in test:
        if part.mask is not None and not part.mask.is_file():
            raise DatasetError(
                f"{part.path}: has no mask: draw {part.mask}, of the picture's size, black but for the "
                f"defect, or move the picture to {folder / 'test' / GOOD} if the part is good"
            )


def _check(part: Part) -> tuple[int, int]:
    """Height and width of a picture that can be read and that fits its mask."""
    size = frame_of(part).shape[:2]
    if part.mask is not None:
        mask = _decode(part.mask)
        if mask.shape[:2] != size:
            raise DatasetError(
                f"{part.mask}: is {_words(mask.shape)}, its picture {_words(size)}: draw the mask anew"
            )
        if len(np.unique(mask[mask > 0])) > 1:
            raise DatasetError(
                f"{part.mask}: has more than two values: save it as black and one other, without smoothing"
            )
    return size


def _check_copies(train: Sequence[Part], test: Sequence[Part]) -> None:
    """No training picture comes twice, and no test picture is a training picture or has two labels."""
    trained: dict[bytes, Part] = {}
    tested: dict[bytes, Part] = {}
    for part in train:
        if (other := trained.setdefault(_digest(part), part)) is not part:
            raise DatasetError(
                f"{part.path}: is byte for byte {other.path}, so that a threshold may be set with a picture "
                "that was trained with: take one of them out"
            )
    for part in test:
        if (digest := _digest(part)) in trained:
            raise DatasetError(
                f"{part.path}: is byte for byte the training picture {trained[digest].path}, so that a test "
                "with it says nothing: take one of them out"
            )
        if (other := tested.setdefault(digest, part)).kind != part.kind:
            raise DatasetError(
                f"{part.path}: is labelled {part.kind!r}, and byte for byte the same as {other.path}, labelled "
                f"{other.kind!r}: take the wrong one out"
            )


def _digest(part: Part) -> bytes:
    return hashlib.sha256(part.path.read_bytes()).digest()


def _decode(path: Path) -> Picture:
    found = decoded(path)
    if isinstance(found, PartError):
        raise DatasetError(f"{found.detail}: save it anew, or take it out") from found
    if found.dtype != np.uint8 or (found.ndim == 3 and found.shape[2] != 3):
        raise DatasetError(
            f"{path}: expected 8 bits a channel, grey or three colours, found {found.shape} {found.dtype}: "
            "save it so"
        )
    return found


def _words(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]}"
