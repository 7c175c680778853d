"""Reads a plant's folder of products into arrays of pictures and labels.

Each product has an inner folder with pictures named `drawing*` and `photo*`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import RecipeError
from edge.image.picture import read_picture
from edge.image.warp import Warper
from edge.manifest import InputSpec
from edge.text import readable
from trt_build.data.errors import DatasetError, raise_mistakes, read_each
from trt_build.data.pictures import PICTURES, entries, is_picture, nested_files, warn_left_out
from trt_build.data.shares import share_of

#: Who made a picture of a product, and how the names of its pictures begin.
DRAWING, PHOTO = 0, 1
HANDS = ("drawing", "photo")

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures as model inputs, each with its product, its group of similar products, and its maker."""

    pictures: npt.NDArray[np.uint8]  # (N, C, H, W)
    product: Indices  # (N,) index into `names`
    group: Indices  # (N,) number of a group of products that look alike
    hand: Indices  # (N,) DRAWING or PHOTO, or the number of the person who drew it
    names: tuple[str, ...]  # of all products in the data set, even if `pictures` has none of them

    def __len__(self) -> int:
        return len(self.product)

    def where(self, keep: npt.NDArray[np.bool_]) -> Pictures:
        """Return only the pictures for which `keep`, `(N,)` bool, is True."""
        return Pictures(
            pictures=self.pictures[keep],
            product=self.product[keep],
            group=self.group[keep],
            hand=self.hand[keep],
            names=self.names,
        )


def read_products(folder: Path, spec: InputSpec) -> Pictures:
    """Return the pictures of all products in a folder, with one group for all. Mistakes raise DatasetError."""
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
    rows, mistakes = read_each(lambda one: (_read(one[2]), one[0], 0, one[1]), shown)
    raise_mistakes([*_misplaced(folder), *chain.from_iterable(map(_incomplete, folders)), *mistakes])
    return labelled(rows, [readable(product.name) for product in folders], spec)


def split_products(pictures: Pictures, *, held_out: float, seed: int = 0) -> tuple[Pictures, Pictures]:
    """Split off the share `held_out` of the products. Return the training and the held-out pictures."""
    kept = np.array([share_of(name, seed) < held_out for name in pictures.names])
    return pictures.where(~kept[pictures.product]), pictures.where(kept[pictures.product])


def split_photos(pictures: Pictures, *, held_out: float, seed: int = 0) -> tuple[Pictures, Pictures]:
    """Split off about the share `held_out` of each product's photos. Return the other pictures, and these.

    At least one photo of each product remains. Which ones are split off depends on their pixels, so that no
    photo changes its list when others are added.
    """
    apart = np.zeros(len(pictures), np.bool_)
    for product in np.unique(pictures.product):
        photos = np.flatnonzero((pictures.product == product) & (pictures.hand == PHOTO))
        shares = np.array([share_of(hex(zlib.crc32(pictures.pictures[photo])), seed) for photo in photos])
        apart[photos[(shares < held_out) & (shares < shares.max(initial=0))]] = True
    return pictures.where(~apart), pictures.where(apart)


def joined(first: Pictures, second: Pictures) -> Pictures:
    """Return the pictures of two parts of one data set together."""
    return Pictures(
        pictures=np.concatenate((first.pictures, second.pictures)),
        product=np.concatenate((first.product, second.product)),
        group=np.concatenate((first.group, second.group)),
        hand=np.concatenate((first.hand, second.hand)),
        names=first.names,
    )


def labelled(
    rows: Sequence[tuple[npt.NDArray[np.uint8], int, int, int]], names: Sequence[str], spec: InputSpec
) -> Pictures:
    """Convert rows to `Pictures`. A row is a uint8 picture, and the numbers of its product, group and maker."""
    pictures, *labels = zip(*rows, strict=True)
    product, group, hand = (np.array(label, np.int64) for label in labels)
    return Pictures(
        pictures=as_inputs(pictures, spec), product=product, group=group, hand=hand, names=tuple(names)
    )


def _misplaced(folder: Path) -> Iterator[str]:
    """Yield a message for each picture that is not in a product's folder."""
    for path in filter(is_picture, entries(folder)):
        yield f"{path}: lies in no product's folder: move it into one, or out of {folder}"


def _incomplete(product: Path) -> Iterator[str]:
    """Yield a message for each mistake in a product's folder: a missing or wrongly named picture."""
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
    """Return a picture as `(H, W)` grey or `(H, W, 3)` BGR, uint8, decoded as the line decodes a drawing."""
    try:
        return read_picture(path)
    except RecipeError as error:
        raise DatasetError(str(error)) from error


def as_inputs(
    pictures: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8], spec: InputSpec
) -> npt.NDArray[np.uint8]:
    """Resize pictures, `(H, W)` or `(H, W, 3)` BGR uint8, to model inputs, `(N, C, H, W)`, as on the line."""
    out = np.empty((len(pictures), *spec.shape[1:]), np.uint8)
    warper = Warper(None, spec)
    for picture, place in zip(pictures, out, strict=True):
        warper.warp(picture.shape).apply(picture, place[None])
    return out
