"""Finds all mistakes in a folder of parts in MVTec AD's layout. Each message says which file and what to do."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.image.ignore import mask_of
from trt_build.data.errors import DatasetError, read_each
from trt_build.data.pictures import PICTURES, entries, is_picture, nested_files, read_picture, warn_left_out

if TYPE_CHECKING:
    from trt_build.data.parts import LabelledPart

GOOD = "good"
HALVES = ("train", "test", "ground_truth")
#: The mask of what of all pictures is not judged.
IGNORE = "ignore.png"


def unfit(
    folder: Path,
    train: Sequence[LabelledPart],
    test: Sequence[LabelledPart],
    ignore: Path | None,
    *,
    mixed_sizes: bool,
) -> Iterator[str]:
    """Check a data set before training. Yield a message for each mistake. Warn about files that are left out.

    `ignore` is the mask of what of all pictures is not judged, if there is one.
    """
    yield from _misplaced(folder)
    yield from _mislabelled(folder, train)
    yield from _strays(folder, test)
    yield from _unreadable([*train, *test], mixed_sizes, ignore)
    yield from _copies(train, test)
    _warn(folder)


def _misplaced(folder: Path) -> Iterator[str]:
    """Yield a message for each picture that is not directly in the folder of a label."""
    for half in HALVES:
        for label in entries(folder / half):
            yield from nested_files(label)
            if is_picture(label) and half in ("train", "test"):
                yield f"{label}: lies in no label's folder: move it to {folder / half / GOOD}" + (
                    " if the part is good, else to one with the defect's name" if half == "test" else ""
                )


def _mislabelled(folder: Path, train: Sequence[LabelledPart]) -> Iterator[str]:
    """Yield a message if there are no good training pictures, or if there are defective training pictures."""
    if not any(part.is_good for part in train):
        yield (
            f"{folder / 'train' / GOOD}: expected pictures of good parts ({', '.join(PICTURES)}), found none: "
            "put them there, without any defective one"
        )
    for kind, count in Counter(part.kind for part in train if not part.is_good).items():
        yield (
            f"{folder / 'train' / kind}: only good parts are trained with, and {count} here are labelled "
            f"{kind!r}: move the folder to {folder / 'test'}"
        )


def _strays(folder: Path, test: Sequence[LabelledPart]) -> Iterator[str]:
    """Yield a message for each mask without a defective part, and for each defective part without a mask."""
    masks = {part.mask for part in test}
    for kind in entries(folder / "ground_truth"):
        for path in entries(kind):
            if is_picture(path) and path not in masks:
                yield (
                    f"{path}: belongs to no picture: expected <id>_mask.png for a picture <id> of a defective "
                    f"part in {folder / 'test' / kind.name}: add that picture, or take the mask out"
                )
    for part in test:
        if part.mask is not None and not part.mask.is_file():
            yield (
                f"{part.path}: has no mask: draw {part.mask}, of the picture's size, black but for the "
                f"defect, or move the picture to {folder / 'test' / GOOD} if the part is good"
            )


def _unreadable(parts: Sequence[LabelledPart], mixed_sizes: bool, ignore: Path | None) -> Iterator[str]:
    """Yield a message for each picture that cannot be read, does not fit a mask, or has an unusual size."""
    sized, wrong = read_each(lambda part: (part, _size(part)), parts)
    yield from wrong
    sizes = Counter(size for _, size in sized)
    for part, size in sized if len(sizes) > 1 and not mixed_sizes else ():
        if size != (usual := sizes.most_common(1)[0][0]):
            yield (
                f"{part.path}: is {_text_of(size)}, most pictures are {_text_of(usual)}: cut or take all "
                "pictures alike, or train with --mixed-sizes if the parts are of different sizes"
            )
    if ignore is not None:
        yield from _unfit_mask(ignore, list(sizes))


def _unfit_mask(ignore: Path, sizes: Sequence[tuple[int, ...]]) -> Iterator[str]:
    """Yield a message if the mask of what is not judged is not of the pictures' `sizes` or makes no sense."""
    try:
        mask = mask_of(read_picture(ignore))
    except DatasetError as error:
        yield str(error)
        return
    for size in sizes:
        if size != mask.shape:
            yield (
                f"{ignore}: is {_text_of(mask.shape)}, and pictures are {_text_of(size)}: draw it over one of "
                "them, and cut or take all pictures alike"
            )
    if mask.all() or not mask.any():
        yield (
            f"{ignore}: ignores {'everything' if mask.all() else 'nothing'}: draw white what is not to be "
            "judged, and the rest black, or take the mask out"
        )


def _size(part: LabelledPart) -> tuple[int, ...]:
    """Return a picture's height and width. Raise DatasetError if it cannot be read or does not fit its mask."""
    size = read_picture(part.path).shape[:2]
    if part.mask is not None and part.mask.is_file():
        mask = read_picture(part.mask)
        if mask.shape[:2] != size:
            raise DatasetError(
                f"{part.mask}: is {_text_of(mask.shape)}, its picture {_text_of(size)}: draw the mask anew"
            )
        if len(np.unique(mask[mask > 0])) > 1:
            raise DatasetError(
                f"{part.mask}: has more than two values: save it as black and one other, without smoothing"
            )
    return size


def _copies(train: Sequence[LabelledPart], test: Sequence[LabelledPart]) -> Iterator[str]:
    """Yield a message for each file name that occurs twice and each picture that is a copy of another one."""
    trained: dict[bytes, LabelledPart] = {}
    tested: dict[bytes, LabelledPart] = {}
    for half in (train, test):
        named: dict[str, LabelledPart] = {}
        for part in half:
            if (other := named.setdefault(part.name, part)) is not part:
                yield f"{part.path}: {other.path.name} has the same name: rename one of them"
    for part in train:
        if (other := trained.setdefault(_digest(part), part)) is not part:
            yield (
                f"{part.path}: is byte for byte {other.path}, so that a threshold may be set with a picture "
                "that was trained with: take one of them out"
            )
    for part in test:
        if (digest := _digest(part)) in trained:
            yield (
                f"{part.path}: is byte for byte the training picture {trained[digest].path}, so that a test "
                "with it says nothing: take one of them out"
            )
        if (other := tested.setdefault(digest, part)).kind != part.kind:
            yield (
                f"{part.path}: is labelled {part.kind!r}, and byte for byte the same as {other.path}, labelled "
                f"{other.kind!r}: take the wrong one out"
            )


def _warn(folder: Path) -> None:
    """Log a warning that names the files that are ignored because of their type or place."""
    inside = [path for half in HALVES for label in entries(folder / half) for path in (label, *entries(label))]
    files = [path for path in inside if path.is_file() and not is_picture(path)]
    warn_left_out(files, "since OpenCV finds no picture in them")
    beside = [
        path
        for path in entries(folder)
        if (is_picture(path) and path.name != IGNORE) or (path.is_dir() and path.name not in HALVES)
    ]
    warn_left_out(beside, f"since pictures are read from {', '.join(HALVES)} alone")


def _digest(part: LabelledPart) -> bytes:
    """Return the SHA-256 of a part's picture file."""
    return hashlib.sha256(part.path.read_bytes()).digest()


def _text_of(shape: Sequence[int]) -> str:
    """Return the size of a picture as text, such as 640x480. `shape` starts with height and width."""
    return f"{shape[1]}x{shape[0]}"
