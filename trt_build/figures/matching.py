"""Embeddings of pictures into how well same is told from different, and where to draw the line.

All pairs count, not a sample of them: the figures are what drawing same and different pairs 1:1 at
random comes to in the long run. The threshold comes from validation products, where as many same as
different pairs are told wrongly; the test products only meet it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trt_build.data.errors import DatasetError
from trt_build.data.products import DRAWING, PHOTO, Pictures, Split

Vectors = npt.NDArray[np.float32]
Embed = Callable[[npt.NDArray[np.uint8]], Vectors]  # (N, C, H, W) -> (N, D), each of length 1

_WAYS = 20
_RUNS = 2  # of each alphabet, in the usual 400 trials of ten alphabets
_MANY_RUNS = 100


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The similarity of every pair that shows one product, and of every pair that shows two."""

    same: Vectors
    different: Vectors


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The drawings of products as vectors, embedded once; what photos are held against."""

    views: Vectors  # (V, D)
    product: npt.NDArray[np.int64]  # (V,) sorted

    def similarity(self, photos: Vectors) -> Vectors:
        """`(N, D)` to `(N, P)`: of each photo with the best view of each product, in the products' order."""
        starts = np.unique(self.product, return_index=True)[1]
        return np.maximum.reduceat(photos @ self.views.T, starts, axis=1)


def gallery(views: Vectors, product: npt.NDArray[np.int64]) -> Gallery:
    """The gallery of embedded drawings `(V, D)` and the product that each shows `(V,)`, in any order."""
    if len(views) != len(product) or not len(views):
        raise DatasetError(
            f"expected a product for each drawing, found {len(views)} drawings, {len(product)} products"
        )
    order = np.argsort(product, kind="stable")
    return Gallery(views=views[order], product=product[order])


def measure_products(embed: Embed, split: Split) -> dict[str, float]:
    """Accuracy in %, of same and different 1:1, between photos and drawings of products never seen.

    `any` is with different pairs from all products, `alike` with those from the photo's own category;
    each with its own threshold, from validation pairs drawn likewise.
    """
    figures: dict[str, float] = {}
    validation, test = embed(split.validation.pictures), embed(split.test.pictures)
    for name, alike in (("any", False), ("alike", True)):
        threshold, _ = equal_error([photo_pairs(validation, split.validation, alike=alike)])
        figures |= _rates([photo_pairs(test, split.test, alike=alike)], threshold, name)
    return figures


def measure_omniglot(embed: Embed, split: Split, *, seed: int = 0) -> dict[str, float]:
    """In %: verification within alphabets and across all, and 20-way one-shot within alphabets.

    Verification pairs are of two drawers, each alphabet counts alike, and the threshold is the
    validation alphabets'. `one_shot` is of the usual 400 trials, `one_shot_many` of 50 times as many.
    """
    validation, test = embed(split.validation.pictures), embed(split.test.pictures)
    threshold, _ = equal_error(pairs_by_group(validation, split.validation))
    figures = _rates(pairs_by_group(test, split.test), threshold, "alike")
    threshold, _ = equal_error([picture_pairs(validation, split.validation)])
    figures |= _rates([picture_pairs(test, split.test)], threshold, "any")
    for name, runs in (("one_shot", _RUNS), ("one_shot_many", _MANY_RUNS)):
        figures[name] = 100 * one_shot(test, split.test, runs=runs, seed=seed)
    return figures


def picture_pairs(vectors: Vectors, pictures: Pictures) -> Pairs:
    """All pairs of pictures by two hands."""
    first, second = np.triu_indices(len(pictures), 1)
    two_hands = pictures.hand[first] != pictures.hand[second]
    first, second = first[two_hands], second[two_hands]
    similarity = (vectors @ vectors.T)[first, second]
    same = pictures.product[first] == pictures.product[second]
    return Pairs(same=similarity[same], different=similarity[~same])


def pairs_by_group(vectors: Vectors, pictures: Pictures) -> list[Pairs]:
    """As `picture_pairs`, within each group."""
    groups = [pictures.group == group for group in np.unique(pictures.group)]
    return [picture_pairs(vectors[group], pictures.where(group)) for group in groups]


def photo_pairs(vectors: Vectors, pictures: Pictures, *, alike: bool) -> Pairs:
    """Each photo with the best view of each product, or of those of its group only."""
    photo, drawing = pictures.where(pictures.hand == PHOTO), pictures.where(pictures.hand == DRAWING)
    similarity = gallery(vectors[pictures.hand == DRAWING], drawing.product).similarity(
        vectors[pictures.hand == PHOTO]
    )
    products, at = np.unique(drawing.product, return_index=True)
    same = photo.product[:, None] == products
    other = ~same & (photo.group[:, None] == drawing.group[at]) if alike else ~same
    return Pairs(same=similarity[same], different=similarity[other])


def equal_error(pairs: Sequence[Pairs]) -> tuple[float, float]:
    """The threshold from which on a pair is called same so that both kinds are wrong equally often; how often.

    It lies in the middle between two similarities that occur; the error, 0..1, is the mean of both kinds'.
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


def one_shot(vectors: Vectors, pictures: Pictures, *, runs: int, seed: int = 0) -> float:
    """How often, 0..1, a character is found among 20 of its alphabet by one example of each.

    A run takes two drawers and 20 characters of an alphabet; each one by the second drawer is looked
    for among those by the first (Lake et al., 2015).
    """
    rng = np.random.default_rng(seed)
    found = []
    for group in np.unique(pictures.group):
        products = np.unique(pictures.product[pictures.group == group])
        if len(products) < _WAYS:
            raise DatasetError(f"group {group}: expected at least {_WAYS} characters, found {len(products)}")
        for _ in range(runs):
            hands = rng.choice(np.unique(pictures.hand[pictures.group == group]), 2, replace=False)
            chosen = rng.choice(products, _WAYS, replace=False)
            shown, asked = (
                [np.flatnonzero((pictures.product == c) & (pictures.hand == hand))[0] for c in chosen]
                for hand in hands
            )
            found.append((vectors[asked] @ vectors[shown].T).argmax(axis=1) == np.arange(_WAYS))
    return float(np.mean(found))


def _rates(pairs: Sequence[Pairs], threshold: float, name: str) -> dict[str, float]:
    """In %, the mean over `pairs`: same pairs called same, different ones different, and of both."""
    same = 100 * float(np.mean([np.mean(p.same >= threshold) for p in pairs]))
    different = 100 * float(np.mean([np.mean(p.different < threshold) for p in pairs]))
    return {
        f"{name}_same": same,
        f"{name}_different": different,
        f"{name}_mean": (same + different) / 2,
        f"{name}_threshold": threshold,
    }
