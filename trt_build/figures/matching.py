"""Measures how well similarity separates pictures of the same product from pictures of different products.

Pictures are compared by the similarity of their feature vectors. All pairs are counted, not a sample of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.manifest import rejected_below
from trt_build.data.errors import DatasetError
from trt_build.data.products import Pictures

Vectors = npt.NDArray[np.float32]
#: Takes pictures `(N, C, H, W)` uint8; returns feature vectors `(N, D)` float32 of length 1.
Embed = Callable[[npt.NDArray[np.uint8]], Vectors]


#: The similarities for which Han (2022) gives the shares of pairs called right.
SIMILARITIES = (0.40, 0.45, 0.50, 0.55, 0.60, 0.70)
#: The names of `CalledRight.shares`.
CALLED = ("same", "different", "mean")
#: A product that is looked up counts as found if it is among the first this many.
FIRST = (1, 3, 5)


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


@dataclass(frozen=True, kw_only=True)
class Lookups:
    """The scores of N photos against the drawings of P products: 1 minus the highest cosine of each product."""

    scores: Vectors  # (N, P)
    own: npt.NDArray[np.int64]  # (N,) column of each photo's own product

    def among(self, products: npt.NDArray[np.bool_]) -> Lookups:
        """Return the scores against only the products for which `products`, `(P,)` bool, is True.

        The photos' own products must be among them.
        """
        return Lookups(scores=self.scores[:, products], own=np.cumsum(products)[self.own] - 1)

    @property
    def same(self) -> Vectors:
        """The score of each photo against its own product, `(N,)`."""
        own: Vectors = self.scores[np.arange(len(self.own)), self.own]
        return own

    @property
    def different(self) -> Vectors:
        """The scores of all photos against all other products, `(N * (P - 1),)`."""
        others: Vectors = self.scores[np.arange(self.scores.shape[1]) != self.own[:, np.newaxis]]
        return others


@dataclass(frozen=True, kw_only=True)
class CalledRight:
    """The shares, 0 to 1, of pairs that are called right if the same product begins at `similarity`."""

    similarity: float
    same: float
    different: float

    @property
    def shares(self) -> tuple[float, float, float]:
        """The shares that `CALLED` names; the last one holds for as many pairs of one product as of two."""
        return self.same, self.different, (self.same + self.different) / 2


def called_right(lookups: Lookups, similarities: Sequence[float] = SIMILARITIES) -> list[CalledRight]:
    """Return for each similarity how many photos are called right, as a line with this threshold would do it.

    A pair is a photo and all drawings of a product. Raise DatasetError without photos or a second product.
    """
    same, different = lookups.same, lookups.different
    if not len(same) or not len(different):
        raise DatasetError(
            f"expected photos and at least 2 products, found {len(lookups.own)} photos and "
            f"{lookups.scores.shape[1]} products: give more"
        )
    limits = {similarity: np.float32(rejected_below(similarity)) for similarity in similarities}
    return [
        CalledRight(
            similarity=similarity,
            same=float((same < limit).mean()),
            different=float((different >= limit).mean()),
        )
        for similarity, limit in limits.items()
    ]


def found_among_first(lookups: Lookups, first: Sequence[int] = FIRST) -> dict[int, float]:
    """Return for each number in `first` how often, 0 to 1, a photo's product is among this many best ones.

    A product with an equal score counts as better, so that a model that says the same of all finds none.
    """
    better = (lookups.scores <= lookups.same[:, np.newaxis]).sum(axis=1) - 1
    return {number: float((better < number).mean()) for number in first}
