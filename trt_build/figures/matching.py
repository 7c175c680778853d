"""Finds the threshold that separates pairs of pictures of the same product from pairs of different products.

Pictures are compared by the similarity of their feature vectors. All pairs are counted, not a sample of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trt_build.data.errors import DatasetError
from trt_build.data.products import Pictures

Vectors = npt.NDArray[np.float32]
#: Takes pictures `(N, C, H, W)` uint8; returns feature vectors `(N, D)` float32 of length 1.
Embed = Callable[[npt.NDArray[np.uint8]], Vectors]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The similarities of pairs of pictures of one product, and of pairs of two products, as 1-D arrays."""

    same: Vectors
    different: Vectors


def picture_pairs(vectors: Vectors, pictures: Pictures) -> Pairs:
    """Return the similarities of all pairs of pictures that differ in `hand`, from feature vectors `(N, D)`."""
    first, second = np.triu_indices(len(pictures), 1)
    two_hands = pictures.hand[first] != pictures.hand[second]
    first, second = first[two_hands], second[two_hands]
    similarity = (vectors @ vectors.T)[first, second]
    same = pictures.product[first] == pictures.product[second]
    return Pairs(same=similarity[same], different=similarity[~same])


def pairs_by_group(vectors: Vectors, pictures: Pictures) -> list[Pairs]:
    """Return for each group of products what `picture_pairs` returns for the pictures of this group."""
    groups = [pictures.group == group for group in np.unique(pictures.group)]
    return [picture_pairs(vectors[group], pictures.where(group)) for group in groups]


def equal_error(pairs: Sequence[Pairs]) -> tuple[float, float]:
    """Return the threshold at which both error rates are most nearly equal, and the mean of the two rates.

    One error is to take one product for two, the other to take two products for one. A pair counts as one
    product if its similarity is at least the threshold. The threshold is between two similarities that occur,
    or beyond them all. Raise DatasetError if there are no pairs of one product, or no pairs of two products.
    """
    same, different = (
        np.sort(np.concatenate(side)) for side in zip(*((p.same, p.different) for p in pairs), strict=True)
    )
    if not len(same) or not len(different):
        raise DatasetError(
            f"expected pairs of one and of two products, found {len(same)} and {len(different)}: "
            "hold out more products"
        )
    cuts = np.unique(np.concatenate((same, different)))
    cuts = np.concatenate((cuts[:1] - 1e-3, (cuts[1:] + cuts[:-1]) / 2, cuts[-1:] + 1e-3))
    missed = np.searchsorted(same, cuts) / len(same)
    accepted = 1 - np.searchsorted(different, cuts) / len(different)
    best = np.argmin(np.abs(missed - accepted))
    return float(cuts[best]), float(missed[best] + accepted[best]) / 2
