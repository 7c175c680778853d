"""Splits a plant's folder of products into pictures to train with and two kinds of pictures to measure with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.manifest import InputSpec
from trt_build.data.errors import DatasetError
from trt_build.data.products import DRAWING, Pictures, joined, read_products, split_photos, split_products

HELD_OUT = 0.2  # share of the products
HELD_OUT_PHOTOS = 0.2  # share of the photos of each other product; Han (2022) splits them 4:1, too


@dataclass(frozen=True, kw_only=True)
class ProductSplit:
    """The pictures of a folder. Training uses drawings and most photos of most products."""

    train: Pictures
    closed: Pictures  # other photos of the products in `train` (closed set); none if each product has one photo
    open: Pictures  # drawings and photos of all other products (open set)

    @property
    def known_photos(self) -> Pictures:
        """The closed set with the drawings of its products, as in Han (2022); without any, the open set."""
        if not len(self.closed):
            return self.open
        drawn = (self.train.hand == DRAWING) & np.isin(self.train.product, self.closed.product)
        return joined(self.train.where(drawn), self.closed)


def split_pictures(data: Path, spec: InputSpec) -> ProductSplit:
    """Return the pictures in the folder `data` as model inputs, split by products and by photos."""
    known, others = split_products(read_products(data, spec), held_out=HELD_OUT)
    train, closed = split_photos(known, held_out=HELD_OUT_PHOTOS)
    return ProductSplit(train=train, closed=closed, open=others)


def pictures_to_train(data: Path, spec: InputSpec, *, products: int) -> ProductSplit:
    """Return what `split_pictures` does. Raise DatasetError if there are too few products.

    There must be at least this number of `products` to train with, and two to measure by.
    """
    split = split_pictures(data, spec)
    counts = [len(np.unique(pictures.product)) for pictures in (split.train, split.open)]
    if counts[0] < products or counts[1] < 2:
        raise DatasetError(
            f"{data}: expected at least {products} products to train with and 2 to measure by, found "
            f"{counts[0]} and {counts[1]}: give more, about {max(25, round(1.5 * products))}"
        )
    return split


def held_out_pictures(data: Path, spec: InputSpec) -> Pictures:
    """Return the pictures of products not used for training. Raise DatasetError if these are fewer than two."""
    return at_least_two(data, split_pictures(data, spec).open)


def at_least_two(data: Path, pictures: Pictures) -> Pictures:
    """Return the pictures. Raise DatasetError if they show fewer than two products."""
    if (found := len(np.unique(pictures.product))) < 2:
        raise DatasetError(
            f"{data}: expected at least 2 products that are kept from training, since products are told apart, "
            f"found {found}: give more products, about 25"
        )
    return pictures
