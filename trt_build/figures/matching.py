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
    """The similarities of all pairs of pictures of the same product and of different products, `(P,)` each."""

    same: Vectors
    different: Vectors


def picture_pairs(vectors: Vectors, pictures: Pictures) -> Pairs:
    """Return the similarities of all pairs of pictures by different makers, from feature vectors `(N, D)`."""
    first, second = np.triu_indices(len(pictures), 1)
    two_hands = pictures.hand[first] != pictures.hand[second]
    first, second = first[two_hands], second[two_hands]
    similarity = (vectors @ vectors.T)[first, second]
    same = pictures.product[first] == pictures.product[second]
    return Pairs(same=similarity[same], different=similarity[~same])


def pairs_by_group(vectors: Vectors, pictures: Pictures) -> list[Pairs]:
    """Return the similarities of the pairs within each group of products, as `picture_pairs` computes them."""
    groups = [pictures.group == group for group in np.unique(pictures.group)]
    return [picture_pairs(vectors[group], pictures.where(group)) for group in groups]


def equal_error(pairs: Sequence[Pairs]) -> tuple[float, float]:
    """Return the threshold at which both kinds of errors are equally frequent, and how frequent they are.

    The errors are to take the same product for two, or two products for one. A pair counts as the same product
    if its similarity reaches the threshold, which is halfway between two similarities that occur. Raise
    DatasetError if there are no pairs of the same or no pairs of different products.
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
