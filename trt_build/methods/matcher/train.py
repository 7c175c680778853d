"""Trains a matcher on drawings and photos of products.

The matcher has one of two networks, called branches. The residual branch trains on batches with two pictures of
each of many products, most of which look alike. The loss has two terms: how badly a picture finds its partner
among all others (InfoNCE, van den Oord et al., arXiv 1807.03748), and how badly pairs are judged to be of one
product or of two. The source branch trains as in Han (2022): on single pairs, half of one product and half of
two, by cross-entropy with the cosine itself as the logit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trt_build.data.products import Pictures
from trt_build.figures.matching import Embed, Vectors, equal_error, pairs_by_group, picture_pairs
from trt_build.methods.loop import TrainConfig, fit
from trt_build.methods.matcher.augment import LETTERS, PRODUCTS, Redrawing, redraw, side_by_side
from trt_build.methods.matcher.network import Matcher, MatcherConfig

Indices = npt.NDArray[np.int64]

TRAINING = TrainConfig(epochs=40)


@dataclass(frozen=True, kw_only=True)
class PairSampling:
    """The rules by which the pairs of an epoch are chosen and redrawn. The default values are for products.

    `CHARACTERS` has the values for Omniglot's letters, and `SINGLE_PAIRS` those for the source branch.
    """

    pairs: int = 64  # pairs in a batch
    alike: int = 32  # products in a run; they follow one another and are of one group
    rounds: int = 8  # times that each product is shown in an epoch
    single: bool = False  # true if each pair is judged alone; half of the pairs then show two products
    redrawing: Redrawing = PRODUCTS  # how each picture is redrawn
    symmetries: int = 2  # number of `SYMMETRIES` from which each run gets one
    joined: float = 0.0  # share of the runs in which two products, put side by side, count as one product


CHARACTERS = PairSampling(redrawing=LETTERS, symmetries=8, joined=0.15)
SINGLE_PAIRS = PairSampling(pairs=32, alike=1, rounds=1, single=True)


@dataclass(frozen=True, kw_only=True)
class EpochPairs:
    """The pairs of pictures of an epoch, in order. P is the number of pairs."""

    pictures: Indices  # (P, 2) numbers of the two pictures of each pair
    beside: Indices  # (P, 2) number of the picture to put to the right of each picture, or -1 for none
    same: npt.NDArray[np.bool_]  # (P,) true if both pictures show the same product
    run: Indices  # (P,) number of the run, a group of similar products, that the pair belongs to


@dataclass(frozen=True, kw_only=True)
class MatcherTask:
    """What the training loop needs: the network, pairs of randomly changed pictures, and the loss."""

    model: Matcher
    pictures: Pictures
    held_out: Pictures
    sampling: PairSampling
    seed: int = 0

    def batches(self, epoch: int) -> RedrawnBatches:
        """Return the batches of an epoch. The random changes depend only on the seed and the epoch."""
        chosen = choose_pairs(self.pictures, self.sampling, np.random.default_rng((self.seed, epoch)))
        seed = int(np.random.default_rng((self.seed, epoch, 1)).integers(2**62))
        return RedrawnBatches(pictures=self.pictures, sampling=self.sampling, chosen=chosen, seed=seed)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of one batch of `RedrawnBatches`, as a scalar float32."""
        pictures, same = batch
        vectors = self.model(pictures)
        with torch.autocast("cpu", enabled=False):
            first, second = vectors.chunk(2)
            if self.sampling.single:
                logit = self.model.logit((first * second).sum(dim=1))
                return F.binary_cross_entropy_with_logits(logit, same)
            return pairs_loss(self.model.logit(vectors @ vectors.T))

    def settle(self, model: nn.Module) -> None:
        """Do nothing: the network has nothing but trained weights."""

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Return the equal error rate (EER) on the held-out products, in %, for two sets of pairs.

        "error" is for pairs of any products, "error_alike" for pairs from one group of similar products.
        """
        vectors = embed_with(model)(self.held_out.pictures)
        found = {
            "error": [picture_pairs(vectors, self.held_out)],
            "error_alike": pairs_by_group(vectors, self.held_out),
        }
        return {name: 100 * equal_error(pairs)[1] for name, pairs in found.items()}


@dataclass(frozen=True, kw_only=True)
class RedrawnBatches:
    """Yields the batches of an epoch: pictures `(2B, C, H, W)` uint8 and labels `(B,)` float32.

    Pictures i and i + B are a pair. The label is 1 if both show the same product, otherwise 0.
    """

    pictures: Pictures
    sampling: PairSampling
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


def choose_pairs(pictures: Pictures, sampling: PairSampling, rng: np.random.Generator) -> EpochPairs:
    """Choose the pairs of an epoch. Each product is chosen `rounds` times; similar products follow each other.

    The pictures of a pair show one product and, if possible, are made by two hands. A hand is a person or the
    camera. If `single` is set, only a third of the pairs has two hands, and half show two products.
    """
    shelf = [_by_hand(pictures, product) for product in range(len(pictures.names))]
    chosen, beside, same, members = [], [], [], []
    for _ in range(sampling.rounds):
        runs = _runs(pictures, sampling.alike, rng)
        member = np.repeat(np.arange(len(runs)), [len(run) for run in runs])
        order = np.concatenate([_places(run, joined=rng.random() < sampling.joined) for run in runs])
        for place in range(len(order) // sampling.pairs * sampling.pairs):
            (product, right), other = order[place], order[place, 0]
            if sampling.single and place % 2:
                other = order[place - 1, 0]
            two_hands = not sampling.single or rng.random() < 1 / 3
            chosen.append(_two(shelf[product], shelf[other], two_hands, rng))
            beside.append(_two(shelf[right], shelf[right], two_hands, rng) if right >= 0 else (-1, -1))
            same.append(product == other)
            members.append(member[place])
    return EpochPairs(
        pictures=np.array(chosen), beside=np.array(beside), same=np.array(same), run=np.array(members)
    )


def _by_hand(pictures: Pictures, product: int) -> dict[int, Indices]:
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


def _two(
    one: dict[int, Indices], other: dict[int, Indices], two_hands: bool, rng: np.random.Generator
) -> tuple[int, int]:
    """Return the indices of one picture of each product, made by two hands or by one if possible."""
    hand = int(rng.choice(list(one)))
    hands = [h for h in other if (h != hand) == two_hands] or list(other)
    first = int(rng.choice(one[hand]))
    theirs = other[int(rng.choice(hands))]
    rest = theirs[theirs != first]
    return first, int(rng.choice(rest if len(rest) else theirs))


def pairs_loss(logit: Tensor) -> Tensor:
    """Return the loss of a batch as a scalar. `logit` `(2B, 2B)` compares all pictures with all others.

    Pictures i and i + B show the same product. The loss has two terms: how badly a picture finds this partner
    among all, and how badly pairs are judged to be of one product or of two; both kinds have the same weight.
    """
    count = len(logit)
    partner = torch.arange(count).roll(count // 2)
    itself = torch.eye(count, dtype=torch.bool)
    find = F.cross_entropy(logit.masked_fill(itself, -torch.inf), partner)
    different = ~itself
    different[torch.arange(count), partner] = False
    same = logit[torch.arange(count), partner]
    return find + (F.softplus(-same).mean() + F.softplus(logit[different]).mean()) / 2


def embed_with(model: nn.Module) -> Embed:
    """Return a function that turns pictures into vectors with the network `model`, in batches of 100."""

    @torch.inference_mode()
    def embed(pictures: npt.NDArray[np.uint8]) -> Vectors:
        parts = [model(torch.from_numpy(pictures[at : at + 100])) for at in range(0, len(pictures), 100)]
        return np.asarray(torch.cat(parts).numpy(), np.float32)

    return embed


def train_matcher(
    pictures: Pictures,
    held_out: Pictures,
    folder: Path,
    *,
    network: MatcherConfig,
    training: TrainConfig,
    sampling: PairSampling,
) -> int:
    """Train on `pictures`, and return the number of finished epochs. `held_out` has pictures to check with.

    Write the checkpoint to `folder`; if `folder` has a checkpoint, continue from it.
    """
    torch.manual_seed(training.seed)
    model = Matcher(network)
    task = MatcherTask(model=model, pictures=pictures, held_out=held_out, sampling=sampling, seed=training.seed)
    return fit(task, folder, training, describe={"model": "matcher", "config": asdict(network)})
