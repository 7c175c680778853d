"""Chooses the pairs of pictures that a matcher trains on in an epoch, and redraws them in batches.

There are two ways. `PairSampling` fills a batch with two pictures of each of many products, most of which look
alike. `SinglePairs` takes pairs one by one as Han (2022) does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trt_build.data.products import Pictures
from trt_build.methods.matcher.augment import CENTRED_LETTERS, PRODUCTS, Redrawing, redraw, side_by_side

Indices = npt.NDArray[np.int64]
#: The numbers of a product's pictures `(n,)`, by the hand that made them.
Shelf = dict[int, Indices]


@dataclass(frozen=True, kw_only=True)
class PairSampling:
    """The rules by which the pairs of an epoch are chosen and redrawn. The default values are for products.

    `CHARACTERS` has the values for Omniglot's letters.
    """

    pairs: int = 64  # pairs in a batch
    alike: int = 32  # products in a run; they follow one another and are of one group
    rounds: int = 8  # times that each product is shown in an epoch
    redrawing: Redrawing = PRODUCTS  # how each picture is redrawn
    symmetries: int = 2  # number of `SYMMETRIES` from which each run gets one
    joined: float = 0.0  # share of the runs in which two products, put side by side, count as one product


CHARACTERS = PairSampling(pairs=32, redrawing=CENTRED_LETTERS, symmetries=8, joined=0.15)


@dataclass(frozen=True, kw_only=True)
class SinglePairs:
    """The rules of Han (2022): half of the pairs show one product, half show two, and each is judged alone.

    A third of each half are photo with drawing, a third two drawings, a third two photos. A product without a
    second picture of a kind is shown by the same picture, redrawn twice.
    """

    pairs: int = 128  # pairs in a batch
    per_epoch: int = 180_000  # pairs in an epoch
    redrawing: Redrawing = PRODUCTS  # how each picture is redrawn
    symmetries: int = 2  # number of `SYMMETRIES` from which each pair gets one


Sampling = PairSampling | SinglePairs


@dataclass(frozen=True, kw_only=True)
class EpochPairs:
    """The pairs of pictures of an epoch, in order. P is the number of pairs."""

    pictures: Indices  # (P, 2) numbers of the two pictures of each pair
    beside: Indices  # (P, 2) number of the picture to put to the right of each picture, or -1 for none
    same: npt.NDArray[np.bool_]  # (P,) true if both pictures show the same product
    run: Indices  # (P,) number of the run, a group of similar products, that the pair belongs to


@dataclass(frozen=True, kw_only=True)
class RedrawnBatches:
    """Yields the batches of an epoch: pictures `(2B, C, H, W)` uint8 and labels `(B,)` float32.

    Pictures i and i + B are a pair. The label is 1 if both show the same product, otherwise 0.
    """

    pictures: Pictures
    sampling: Sampling
    chosen: EpochPairs
    seed: int

    def __len__(self) -> int:
        return len(self.chosen.same) // self.sampling.pairs

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        for at in range(0, len(self) * self.sampling.pairs, self.sampling.pairs):
            now = slice(at, at + self.sampling.pairs)
            shown, beside = (at[now].T.reshape(-1) for at in (self.chosen.pictures, self.chosen.beside))
            pictures = torch.from_numpy(self.pictures.pictures[shown])
            joined = torch.from_numpy(np.flatnonzero(beside >= 0))
            other = torch.from_numpy(self.pictures.pictures[beside[joined]])
            pictures[joined] = side_by_side(pictures[joined], other)
            redrawn = redraw(
                pictures,
                self.sampling.redrawing,
                generator,
                run=torch.from_numpy(np.tile(self.chosen.run[now], 2)),
                symmetries=self.sampling.symmetries,
            )
            yield redrawn, torch.from_numpy(self.chosen.same[now]).float()


def choose_pairs(pictures: Pictures, sampling: Sampling, rng: np.random.Generator) -> EpochPairs:
    """Choose the pairs of an epoch by the rules of `sampling`."""
    shelf = [_by_hand(pictures, product) for product in range(len(pictures.names))]
    if isinstance(sampling, SinglePairs):
        return _single_pairs(pictures, shelf, sampling.per_epoch, rng)
    return _partners(pictures, shelf, sampling, rng)


def _partners(
    pictures: Pictures, shelf: Sequence[Shelf], sampling: PairSampling, rng: np.random.Generator
) -> EpochPairs:
    """Return pairs of one product each. Each product is chosen `rounds` times; similar ones follow each other.

    The pictures of a pair are, if possible, made by two hands. A hand is a person or the camera.
    """
    chosen, beside, members = [], [], []
    for _ in range(sampling.rounds):
        runs = _runs(pictures, sampling.alike, rng)
        member = np.repeat(np.arange(len(runs)), [len(run) for run in runs])
        order = np.concatenate([_places(run, joined=rng.random() < sampling.joined) for run in runs])
        for place in range(len(order) // sampling.pairs * sampling.pairs):
            product, right = order[place]
            chosen.append(_two(shelf[product], shelf[product], True, rng))
            beside.append(_two(shelf[right], shelf[right], True, rng) if right >= 0 else (-1, -1))
            members.append(member[place])
    return EpochPairs(
        pictures=np.array(chosen),
        beside=np.array(beside),
        same=np.ones(len(chosen), np.bool_),
        run=np.array(members),
    )


def _single_pairs(
    pictures: Pictures, shelf: Sequence[Shelf], count: int, rng: np.random.Generator
) -> EpochPairs:
    """Return `count` pairs as `SinglePairs` describes them, each in a run of its own."""
    products = np.unique(pictures.product)
    chosen = np.empty((count, 2), np.int64)
    for place in range(count):
        one, other = rng.choice(products, 2, replace=False)
        two_hands = rng.random() < 1 / 3
        chosen[place] = _two(shelf[one], shelf[other if place % 2 else one], two_hands, rng)
    return EpochPairs(
        pictures=chosen,
        beside=np.full((count, 2), -1),
        same=np.arange(count) % 2 == 0,
        run=np.arange(count),
    )


def _by_hand(pictures: Pictures, product: int) -> Shelf:
    """Return the indices of a product's pictures as `(n,)` int64, for each hand: a person or the camera."""
    mine = np.flatnonzero(pictures.product == product)
    return {int(hand): mine[pictures.hand[mine] == hand] for hand in np.unique(pictures.hand[mine])}


def _runs(pictures: Pictures, alike: int, rng: np.random.Generator) -> list[Indices]:
    """Return all products once in random order, in runs of up to `alike` products of one group."""
    runs: list[Indices] = []
    for group in np.unique(pictures.group):
        products = rng.permutation(np.unique(pictures.product[pictures.group == group]))
        runs += np.split(products, range(alike, len(products), alike))
    return [runs[i] for i in rng.permutation(len(runs))]


def _places(run: Indices, *, joined: bool) -> Indices:
    """Return each place's product, and the product put to its right or -1, as `(N, 2)` int64."""
    count = len(run)
    if not joined:
        return np.stack((run, np.full(count, -1)), axis=1)
    left = math.ceil(count / 4)
    at = np.arange(count)
    return np.stack((run[at % left], run[(left + at // left) % count]), axis=1)


def _two(one: Shelf, other: Shelf, two_hands: bool, rng: np.random.Generator) -> tuple[int, int]:
    """Return the indices of one picture of each product, made by two hands or by one if possible."""
    hand = int(rng.choice(list(one)))
    hands = [h for h in other if (h != hand) == two_hands] or list(other)
    first = int(rng.choice(one[hand]))
    theirs = other[int(rng.choice(hands))]
    rest = theirs[theirs != first]
    return first, int(rng.choice(rest if len(rest) else theirs))
