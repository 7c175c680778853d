"""Measures a matcher on photos of products that it was trained with (closed set) and of others (open set)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.bundle import Model
from edge.engines import open_engine
from edge.engines.base import ask
from edge.judges.gallery import Gallery
from edge.recipe import EngineChoice
from trt_build.data.products import DRAWING, PHOTO, Pictures, joined
from trt_build.figures.matching import CALLED, CalledRight, Lookups, called_right, found_among_first
from trt_build.figures.ranking import escape_and_overkill, image_auroc
from trt_build.methods.base import FigureTable
from trt_build.methods.matcher.split import ProductSplit, at_least_two, split_pictures
from trt_build.terminal.progress import counted


@dataclass(frozen=True, kw_only=True)
class Found:
    """The scores of photos that were not used for training, by the set that their products belong to.

    `sets` compares photos with the products of their own set, `everywhere` with all products. Both have the
    keys "closed" and "open"; without "closed" if there are no photos for it.
    """

    sets: Mapping[str, Lookups]
    everywhere: Mapping[str, Lookups]

    def figures(self, bundle: Model) -> dict[str, float]:
        """Return AUROC, escape and overkill on the open set, each 0 to 1, at the bundle's threshold.

        Each photo is held against its own product's drawings and against those of the next product.
        """
        (threshold,) = bundle.thresholds.values()
        lookups = self.sets["open"]
        count = lookups.scores.shape[1]
        other = lookups.scores[np.arange(len(lookups.own)), (lookups.own + 1) % count]
        escapes, overkill = escape_and_overkill(lookups.same, other, threshold)
        return {"auroc": image_auroc(lookups.same, other), "escape": escapes.rate, "overkill": overkill.rate}

    def called_right(self) -> dict[str, list[CalledRight]]:
        """Return for each set the shares of pairs called right, by similarity."""
        return {name: called_right(lookups) for name, lookups in self.sets.items()}

    def found_among_first(self) -> dict[str, dict[int, float]]:
        """Return for each set how often a photo's product is among the best ones of all products."""
        return {name: found_among_first(lookups) for name, lookups in self.everywhere.items()}

    def tables(self) -> tuple[FigureTable, FigureTable]:
        """Return tables to print, in %: the pairs called right, and how often a photo's product is found."""
        right, first = self.called_right(), self.found_among_first()
        of_pairs = [f"{name} set: {what}" for name in right for what in CALLED]
        by_similarity: list[tuple[str | float, ...]] = [
            (f"{rows[0].similarity:.2f}", *(100 * share for row in rows for share in row.shares))
            for rows in zip(*right.values(), strict=True)
        ]
        by_number: list[tuple[str | float, ...]] = [
            (f"top {number}", *(100 * shares[number] for shares in first.values()))
            for number in next(iter(first.values()))
        ]
        return (
            FigureTable(
                title="pairs called right, in %, if from this similarity up they are one product",
                columns=("similarity", *of_pairs),
                rows=tuple(by_similarity),
            ),
            FigureTable(
                title="photos whose product is among the first of all products, in %",
                columns=("", *(f"{name} set" for name in first)),
                rows=tuple(by_number),
            ),
        )

    def flat(self) -> dict[str, float]:
        """Return the numbers of `tables` by name, such as `open_same_50` and `closed_top_3`, each 0 to 1."""
        return {
            f"{name}_{what}_{round(100 * row.similarity)}": value
            for name, rows in self.called_right().items()
            for row in rows
            for what, value in zip(CALLED, row.shares, strict=True)
        } | {
            f"{name}_top_{number}": value
            for name, shares in self.found_among_first().items()
            for number, value in shares.items()
        }


def look_up_all(bundle: Model, data: Path, choice: EngineChoice) -> Found:
    """Score the photos in the folder `data` that were not used for training against all drawings there.

    Raise DatasetError if fewer than two products were kept from training.
    """
    split = split_pictures(data, bundle.manifest.input)
    at_least_two(data, split.open)
    return look_up_split(bundle, split, choice)


def look_up_split(bundle: Model, split: ProductSplit, choice: EngineChoice) -> Found:
    """Score the photos of both sets against the drawings of all products. The open set needs two products."""
    drawings = joined(split.train, split.open)
    everywhere = {
        name: look_up(bundle, choice, photos, drawings)
        for name, photos in (("closed", split.closed), ("open", split.open))
        if (photos.hand == PHOTO).any()
    }
    drawn = np.unique(drawings.product[drawings.hand == DRAWING])
    is_open = np.isin(drawn, split.open.product)
    among = {"closed": ~is_open, "open": is_open}
    return Found(
        sets={name: lookups.among(among[name]) for name, lookups in everywhere.items()}, everywhere=everywhere
    )


def look_up(bundle: Model, choice: EngineChoice, photos: Pictures, drawings: Pictures) -> Lookups:
    """Return the score of each photo in `photos` against all drawings of each product in `drawings`.

    Other pictures in both are ignored. Each photo's product must have a drawing. Columns are in the order of
    the products' numbers.
    """
    photos, drawings = photos.where(photos.hand == PHOTO), drawings.where(drawings.hand == DRAWING)
    products = np.unique(drawings.product)
    with open_engine(choice, bundle) as engine:
        galleries = [
            Gallery(engine, drawings.pictures[drawings.product == product][:, np.newaxis])
            for product in products
        ]
        shown = counted(photos.pictures, f"looking up photos on {engine.name} {engine.precision}")
        found = [
            [gallery.score(outputs)["score"][0] for gallery in galleries]
            for outputs in (ask(engine, photo[np.newaxis]) for photo in shown)
        ]
    scores = np.array(found, np.float32).reshape(len(photos), len(products))
    return Lookups(scores=scores, own=np.searchsorted(products, photos.product))
