"""Measures how well a matcher tells same from different products that it has never seen.

The threshold comes from validation products, where as many same as different pairs are called wrongly; it is
only applied to the test products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from public_products import Split

from trt_build.data.errors import DatasetError
from trt_build.data.products import DRAWING, PHOTO, Pictures
from trt_build.figures.matching import (
    Embed,
    Lookups,
    Pairs,
    Vectors,
    equal_error,
    pairs_by_group,
    picture_pairs,
)
from trt_build.methods.matcher.evaluate import Found

#: Characters among which one is looked for.
_WAYS = 20
#: Runs with each alphabet: 2 are the usual 400 trials with ten alphabets.
_RUNS = 2
_MANY_RUNS = 100


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The embedded drawings of products, with which photos are compared."""

    views: Vectors  # (V, D)
    product: npt.NDArray[np.int64]  # (V,) sorted

    def similarity(self, photos: Vectors) -> Vectors:
        """Return the similarity `(N, P)` of each photo `(N, D)` with each product's most similar drawing."""
        starts = np.unique(self.product, return_index=True)[1]
        return np.maximum.reduceat(photos @ self.views.T, starts, axis=1)


def gallery(views: Vectors, product: npt.NDArray[np.int64]) -> Gallery:
    """Return the gallery of embedded drawings `(V, D)`; `product` `(V,)` says which product each one shows."""
    if len(views) != len(product) or not len(views):
        raise DatasetError(
            f"expected a product for each drawing, found {len(views)} drawings, {len(product)} products"
        )
    order = np.argsort(product, kind="stable")
    return Gallery(views=views[order], product=product[order])


def measure_products(embed: Embed, split: Split) -> dict[str, float]:
    """Return the accuracy in % with which photos match drawings; same and different pairs count equally.

    In `any` the different pairs are of all products; in `alike` they are of the photo's own category. Each of
    the two has its own threshold, chosen on validation pairs of the same kind.
    """
    figures: dict[str, float] = {}
    validation, test = embed(split.validation.pictures), embed(split.test.pictures)
    for name, alike in (("any", False), ("alike", True)):
        threshold, _ = equal_error([photo_pairs(validation, split.validation, alike=alike)])
        figures |= _rates([photo_pairs(test, split.test, alike=alike)], threshold, name)
    return figures


def measure_omniglot(embed: Embed, split: Split, *, seed: int = 0) -> dict[str, float]:
    """Return in %: verification within alphabets (`alike`) and across them (`any`), and 20-way one-shot.

    The two pictures of a pair are by two drawers. Within alphabets each alphabet has the same weight.
    Thresholds are those of the validation alphabets. `one_shot` takes the usual 400 trials, `one_shot_many`
    takes 20,000.
    """
    validation, test = embed(split.validation.pictures), embed(split.test.pictures)
    threshold, _ = equal_error(pairs_by_group(validation, split.validation))
    figures = _rates(pairs_by_group(test, split.test), threshold, "alike")
    threshold, _ = equal_error([picture_pairs(validation, split.validation)])
    figures |= _rates([picture_pairs(test, split.test)], threshold, "any")
    for name, runs in (("one_shot", _RUNS), ("one_shot_many", _MANY_RUNS)):
        figures[name] = 100 * one_shot(test, split.test, runs=runs, seed=seed)
    return figures


def measure_protocol(embed: Embed, closed: Pictures, unknown: Pictures) -> dict[str, float]:
    """Return in % what Han (2022) measures: pairs called right by similarity, products found among the first.

    `closed` has drawings and other photos of products that were trained with, `unknown` those of products that
    were not (open set). Each photo is compared with the products of its own set. Names are those of
    `Found.flat`.
    """
    sets = {name: lookups(embed(some.pictures), some) for name, some in (("closed", closed), ("open", unknown))}
    return {name: 100 * share for name, share in Found(sets=sets, everywhere=sets).flat().items()}


def lookups(vectors: Vectors, pictures: Pictures) -> Lookups:
    """Return the scores of all photos against the drawings of all products, from feature vectors `(N, D)`."""
    photo, drawing = pictures.hand == PHOTO, pictures.hand == DRAWING
    similarity = gallery(vectors[drawing], pictures.product[drawing]).similarity(vectors[photo])
    own = np.searchsorted(np.unique(pictures.product[drawing]), pictures.product[photo])
    return Lookups(scores=np.float32(1.0) - similarity, own=own)


def photo_pairs(vectors: Vectors, pictures: Pictures, *, alike: bool) -> Pairs:
    """Pair each photo with each product's most similar drawing; if `alike`, only with products of its group."""
    photo, drawing = pictures.where(pictures.hand == PHOTO), pictures.where(pictures.hand == DRAWING)
    similarity = gallery(vectors[pictures.hand == DRAWING], drawing.product).similarity(
        vectors[pictures.hand == PHOTO]
    )
    products, at = np.unique(drawing.product, return_index=True)
    same = photo.product[:, None] == products
    other = ~same & (photo.group[:, None] == drawing.group[at]) if alike else ~same
    return Pairs(same=similarity[same], different=similarity[other])


def one_shot(vectors: Vectors, pictures: Pictures, *, runs: int, seed: int = 0) -> float:
    """Return how often, 0 to 1, a character is found among 20 of its alphabet, given one example of each.

    A run takes two drawers and 20 characters of an alphabet. Each character by the second drawer is looked for
    among those by the first (Lake et al., 2015). Vectors are `(N, D)` float32 of length 1.
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
    """Return in % how many same and different pairs are called right, as means over `pairs`, and their mean."""
    same = 100 * float(np.mean([np.mean(p.same >= threshold) for p in pairs]))
    different = 100 * float(np.mean([np.mean(p.different < threshold) for p in pairs]))
    return {
        f"{name}_same": same,
        f"{name}_different": different,
        f"{name}_mean": (same + different) / 2,
        f"{name}_threshold": threshold,
    }
