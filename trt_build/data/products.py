"""Drawings and photos of products, read from a plant's folder or a public file, as arrays with labels.

A plant's folder holds one folder a product, with `drawing*` and `photo*` pictures in it. Omniglot is
the same kind of thing: a character is a product, an alphabet the group of those that look alike, and
each drawer draws it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from edge.errors import RecipeError
from edge.image.picture import read_picture
from edge.image.warp import Resampler
from edge.manifest import InputSpec
from edge.text import readable
from trt_build.data.errors import DatasetError, raise_mistakes, read_each
from trt_build.data.pictures import PICTURES, entries, is_picture, nested_files, warn_left_out
from trt_build.data.shares import share_of

DRAWING, PHOTO = 0, 1  #: the two hands of a product's pictures
HANDS = ("drawing", "photo")  # how their pictures' names begin
_CATEGORIES = ("shoes", "chairs", "handbags")
_OMNIGLOT_SIDE = 105
_TRAINING_DRAWERS, _VALIDATION_DRAWERS = range(1, 13), range(13, 17)  # the test's are 17..20

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures as the model takes them, and of each: what it shows, what that resembles, who made it."""

    pictures: npt.NDArray[np.uint8]  # (N, C, H, W)
    product: Indices  # (N,) index into `names`
    group: Indices  # (N,) products of one group look alike: a category, an alphabet
    hand: Indices  # (N,) `DRAWING` or `PHOTO`; a drawer's number
    names: tuple[str, ...]  # of all products that there are, here or in another part

    def __len__(self) -> int:
        return len(self.product)

    def where(self, keep: npt.NDArray[np.bool_]) -> Pictures:
        """Those pictures for which `keep` `(N,)` is true."""
        return Pictures(
            pictures=self.pictures[keep],
            product=self.product[keep],
            group=self.group[keep],
            hand=self.hand[keep],
            names=self.names,
        )


@dataclass(frozen=True, kw_only=True)
class Split:
    """To learn from, to choose thresholds with, and to measure on; no product is in two of them."""

    train: Pictures
    validation: Pictures
    test: Pictures


def read_products(folder: Path, spec: InputSpec) -> Pictures:
    """All products of a plant's folder, by name, in one group; DatasetError tells everything that is wrong."""
    folders = [path for path in entries(folder) if path.is_dir()]
    if not folders:
        raise DatasetError(
            f"{folder}: expected a folder for each product with drawing*.png and photo*.png in it; found none"
        )
    shown = [
        (number, hand, path)
        for number, product in enumerate(folders)
        for hand, prefix in enumerate(HANDS)
        for path in entries(product)
        if is_picture(path) and path.name.startswith(prefix)
    ]
    rows, wrong = read_each(lambda one: (_read(one[2]), one[0], 0, one[1]), shown)
    raise_mistakes(
        [*_misplaced(folder), *(said for product in folders for said in _incomplete(product)), *wrong]
    )
    return _labelled(rows, [readable(product.name) for product in folders], spec)


def read_qmul(path: Path, spec: InputSpec, *, held_out: float = 0.12) -> Split:
    """QMUL's shoes, chairs and handbags: an edge map of each product's photo and a sketch by a person.

    Validation is the part `held_out` of the training products; test are the publisher's test products.
    """
    sides = [(part, group) for part in ("train", "test") for group in range(len(_CATEGORIES))]
    keys = [f"{_CATEGORIES[group]}_{kind}_{part}" for part, group in sides for kind in ("sketch", "edge")]
    arrays = _arrays(path, keys)
    names: list[str] = []
    rows: list[tuple[npt.NDArray[np.uint8], int, int, int]] = []  # picture, product, group, hand
    for part, group in sides:
        sketches, edges = (arrays[f"{_CATEGORIES[group]}_{kind}_{part}"] for kind in ("sketch", "edge"))
        if sketches.shape != edges.shape:
            raise DatasetError(
                f"{path}: {_CATEGORIES[group]}, {part}: expected a sketch for each edge map, "
                f"found {sketches.shape} and {edges.shape}"
            )
        for i, (sketch, edge) in enumerate(zip(sketches, edges, strict=True)):
            rows += [(sketch, len(names), group, DRAWING), (edge, len(names), group, PHOTO)]
            names.append(f"{_CATEGORIES[group]}/{part}/{i:03}")
    everything = _labelled(rows, names, spec)
    is_test = np.array(["/test/" in name for name in names])[everything.product]
    train, validation = split_products(everything.where(~is_test), held_out=held_out)
    return Split(train=train, validation=validation, test=everything.where(is_test))


def read_omniglot(path: Path, spec: InputSpec) -> Split:
    """Omniglot, parted by alphabet and by drawer as Koch et al. (2015) do: 30, 10 and 10; 12, 4 and 4.

    The 30 background alphabets are for training. Of the 20 evaluation alphabets, in the order of the
    alphabet, the 1st, 3rd, 5th ... are validation, the 2nd, 4th, 6th ... test. Drawers are 1..12 for
    training, 13..16 for validation, 17..20 for test.
    """
    keys = [
        f"{s}_{k}" for s in ("background", "evaluation") for k in ("strokes", "alphabet", "character", "drawer")
    ]
    arrays = _arrays(path, keys)
    background, evaluation = (
        _characters(
            {key: arrays[f"{side}_{key}"] for key in ("strokes", "alphabet", "character", "drawer")}, spec
        )
        for side in ("background", "evaluation")
    )
    odd = evaluation.group % 2 == 1
    return Split(
        train=background.where(np.isin(background.hand, _TRAINING_DRAWERS)),
        validation=evaluation.where(~odd & np.isin(evaluation.hand, _VALIDATION_DRAWERS)),
        test=evaluation.where(odd & (evaluation.hand > _VALIDATION_DRAWERS[-1])),
    )


def split_products(pictures: Pictures, *, held_out: float, seed: int = 0) -> tuple[Pictures, Pictures]:
    """Training and held-out pictures; on which side a product is depends on its name and the seed alone."""
    kept = np.array([share_of(name, seed) < held_out for name in pictures.names])
    return pictures.where(~kept[pictures.product]), pictures.where(kept[pictures.product])


def _characters(side: dict[str, npt.NDArray[Any]], spec: InputSpec) -> Pictures:
    pixels = np.unpackbits(side["strokes"], axis=1)[:, : _OMNIGLOT_SIDE**2]
    ink = pixels.reshape(-1, _OMNIGLOT_SIDE, _OMNIGLOT_SIDE)
    alphabets = side["alphabet"].astype(str)
    names, product = np.unique(
        [f"{a}/{c}" for a, c in zip(alphabets, side["character"], strict=True)], return_inverse=True
    )
    return Pictures(
        pictures=_laid((255 * (1 - ink)).astype(np.uint8), spec),
        product=product.astype(np.int64),
        group=np.unique(alphabets, return_inverse=True)[1].astype(np.int64),
        hand=side["drawer"].astype(np.int64),
        names=tuple(names.tolist()),
    )


def _labelled(
    rows: Sequence[tuple[npt.NDArray[np.uint8], int, int, int]], names: Sequence[str], spec: InputSpec
) -> Pictures:
    """Rows of picture, product, group and hand."""
    pictures, *labels = zip(*rows, strict=True)
    product, group, hand = (np.array(label, np.int64) for label in labels)
    return Pictures(pictures=_laid(pictures, spec), product=product, group=group, hand=hand, names=tuple(names))


def _arrays(path: Path, keys: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path) as file:
            return {key: file[key] for key in keys}
    except (OSError, ValueError, BadZipFile) as error:
        raise DatasetError(f"{path}: expected an .npz file, found none that can be read: {error}") from error
    except KeyError as error:
        raise DatasetError(f"{path}: expected the arrays {', '.join(keys)}: {error.args[0]}") from error


def _misplaced(folder: Path) -> Iterator[str]:
    """Pictures that lie in no product's folder."""
    for path in filter(is_picture, entries(folder)):
        yield f"{path}: lies in no product's folder: move it into one, or out of {folder}"


def _incomplete(product: Path) -> Iterator[str]:
    """What is missing or called otherwise in a product's folder."""
    yield from nested_files(product)
    pictures = [path for path in entries(product) if is_picture(path)]
    for path in pictures:
        if not path.name.startswith(HANDS):
            yield f"{path}: expected a picture named drawing* or photo*; rename it"
    for prefix in HANDS:
        if not any(path.name.startswith(prefix) for path in pictures):
            yield f"{product}: expected at least one {prefix}*.png (or {', '.join(PICTURES[1:])}), found none"
    others = [path for path in entries(product) if path.is_file() and path not in pictures]
    warn_left_out(others, "since OpenCV finds no picture in them")


def _read(path: Path) -> npt.NDArray[np.uint8]:
    """As the line reads a drawing."""
    try:
        return read_picture(path)
    except RecipeError as error:
        raise DatasetError(str(error)) from error


def _laid(
    pictures: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8], spec: InputSpec
) -> npt.NDArray[np.uint8]:
    """Each picture, `(H, W)` or `(H, W, 3)` BGR, as the line would lay it into the input: `(N, C, H, W)`."""
    out = np.empty((len(pictures), *spec.shape[1:]), np.uint8)
    resampler = Resampler(None, spec)
    for picture, place in zip(pictures, out, strict=True):
        resampler.lay(picture, place[None])
    return out
